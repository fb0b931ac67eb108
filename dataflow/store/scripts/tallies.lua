-- Many hashes (counts of streams, lanes of edges) at one instant. Writes nothing.
--
-- KEYS  hashes
-- Gives one flat reply (name, value, ...) per key.
local answer = {}
for i, hash in ipairs(KEYS) do answer[i] = redis.call('HGETALL', hash) end
return answer
