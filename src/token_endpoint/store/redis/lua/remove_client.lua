-- KEYS: the clients of a part, their order. ARGV: 3 client, 4 whether there must be a client, 5 its record.
if ARGV[4] == '1' and redis.call('HGET', KEYS[1], ARGV[3]) ~= ARGV[5] then return {clock, 'conflict'} end
redis.call('HDEL', KEYS[1], ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[3])
return {clock, 'done'}
