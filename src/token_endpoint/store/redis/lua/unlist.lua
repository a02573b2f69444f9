-- KEYS: the order and expiries of lists. ARGV: the members from 3 on.
for _, key in ipairs(KEYS) do
  for i = 3, #ARGV do redis.call('ZREM', key, ARGV[i]) end
end
return {clock, 'done'}
