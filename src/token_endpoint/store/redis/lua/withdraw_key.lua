-- KEYS: the keys. ARGV: 3 key id, 4 until when it can't be published.
local kind, _, expires_at = read_key(redis.call('HGET', KEYS[1], ARGV[3]))
local before = kind == 'w' and expires_at or 0
write_key(KEYS[1], ARGV[3], 'w', ARGV[1], math.max(tonumber(ARGV[4]), before), '')
return {clock, 'done'}
