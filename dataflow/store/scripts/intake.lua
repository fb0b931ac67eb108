-- Put documents that were read from elsewhere into a stream and move the position with them: all or nothing.
--
-- KEYS  1 lane  2 stream  3 counts  4 dead stream  5 dead counts
-- ARGV  1 epoch  2 nonce  3 lease (ms)  4 position that was read from  5 position of the last document  6 edge
--       7 the messages, packed: those of target 1 go to the stream, of target 2 to the dead letters
-- Gives {'OK'} | {'FENCED'} | {'MOVED'} (the position is another) | {'FULL', 1 (stream) or 2 (dead), depth, max_len}
--       | {'WRONGTYPE', 1 or 2}
-- An error reply (nothing was written): a message that XADD would not take, a key of ours that is no hash.
-- At maxmemory nothing is written: the documents are safe where they are.
local lane, targets, books = KEYS[1], {KEYS[2], KEYS[4]}, {KEYS[3], KEYS[5]}
local wrong = wrong_type('hash', lane, KEYS[3], KEYS[5])
if wrong then return wrong end
local state = redis.call('HMGET', lane, 'epoch', 'nonce', 'position')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return {'FENCED'} end
if state[3] ~= ARGV[4] then return {'MOVED'} end

local edge = ARGV[6]
local runs, wanted = read_messages(ARGV[7])
if not runs then return wanted end
local number = {wanted[1] or 0, wanted[2] or 0}
for target = 1, 2 do
  if number[target] > 0 then
    if not is_stream(targets[target]) then return {'WRONGTYPE', target} end
    local full = lacks_room(targets[target], books[target], number[target])
    if full then return {'FULL', target, full[1], full[2]} end
  end
end

for _, run in ipairs(runs) do add_messages(targets[run.target], run) end
for target = 1, 2 do
  if number[target] > 0 then redis.call('HINCRBY', books[target], 'from.' .. edge, number[target]) end
end
if number[1] > 0 then redis.call('HINCRBY', KEYS[3], edge .. '.out', number[1]) end
if number[2] > 0 then redis.call('HINCRBY', KEYS[3], edge .. '.dead', number[2]) end
redis.call('HSET', lane, 'position', ARGV[5], 'until_ms', now_ms() + tonumber(ARGV[3]))
redis.call('HINCRBY', lane, 'seq', 1)
redis.call('HINCRBY', lane, 'frozen', number[1] + number[2])
redis.call('HINCRBY', lane, 'settled', number[1] + number[2])
return {'OK'}
