-- KEYS: the clients of a part, their order. ARGV: 3 client, 4 record, 5 whether there must be a client, 6 its record.
local found = redis.call('HGET', KEYS[1], ARGV[3])
if ARGV[5] == '0' and found or ARGV[5] == '1' and found ~= ARGV[6] then return {clock, 'conflict'} end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
return {clock, 'done'}
