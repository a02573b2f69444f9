-- KEYS: the clients of a part. ARGV: 3 client.
local record = redis.call('HGET', KEYS[1], ARGV[3])
if not record then return {clock, 'none'} end
return {clock, 'found', record}
