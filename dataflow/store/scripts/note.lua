-- Set fields of a hash, also at maxmemory: what operators must see, and what is set once per process and not per message.
--
-- KEYS  1 hash
-- ARGV  field, value, ...
-- Gives 'OK'.
permit(KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV))
return 'OK'
