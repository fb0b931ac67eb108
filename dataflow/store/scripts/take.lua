-- Take all hints that were left. Who takes them is the only one; those that came too late are dropped.
--
-- KEYS  1 hints
-- Gives {edge, id of the hint, tick (ms), edge ...}
local hints = KEYS[1]
local bad = wrong_type('hash', hints)
if bad then return bad end
local flat, taken, now = redis.call('HGETALL', hints), {}, now_ms()
for i = 1, #flat, 2 do
  local hint, tick, until_ms = flat[i + 1]:match('^(%S+) (%d+) (%d+)$')
  if hint and tonumber(until_ms) > now then
    taken[#taken + 1] = flat[i]
    taken[#taken + 1] = hint
    taken[#taken + 1] = tick
  end
end
if #flat > 0 then redis.call('DEL', hints) end
return taken
