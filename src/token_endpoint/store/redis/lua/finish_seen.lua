-- KEYS: the value. ARGV: 3 attempt, 4 expiry, 5 `until` of the attempt, 6 whether the value is stored for good (1 or 0).
if ARGV[6] == '1' then
  redis.call('HSET', KEYS[1], 'expires_at', ARGV[4])
  redis.call('HDEL', KEYS[1], 'attempt', 'until')
  keep(KEYS[1], tonumber(ARGV[4]))
else
  local known = redis.call('HMGET', KEYS[1], 'attempt', 'until')
  if known[1] == ARGV[3] and known[2] == ARGV[5] then redis.call('DEL', KEYS[1]) end
end
return {clock, 'done'}
