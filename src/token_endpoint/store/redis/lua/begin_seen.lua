-- KEYS: the value. ARGV: 3 attempt, 4 expiry, 5 until when this attempt may be executed, in milliseconds by this server's clock;
-- empty if the value is all that is stored. Without an attempt, the value is stored for good.
local known = redis.call('HMGET', KEYS[1], 'attempt', 'until', 'expires_at')
if known[3] and now < tonumber(known[3]) then
  if known[1] ~= ARGV[3] then return {clock, 'seen'} end
  -- The same request is being executed, by this or another instance.
  if tonumber(clock) < tonumber(known[2]) then return {clock, 'busy'} end
end
redis.call('HSET', KEYS[1], 'expires_at', ARGV[4])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'attempt', ARGV[3], 'until', ARGV[5])
else
  redis.call('HDEL', KEYS[1], 'attempt', 'until')
end
keep(KEYS[1], tonumber(ARGV[4]))
return {clock, 'done'}
