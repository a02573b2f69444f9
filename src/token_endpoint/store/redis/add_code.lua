-- KEYS: the new code. ARGV: 3 the binding, 4 the family, 5 when the code expires.
redis.call('HSET', KEYS[1], 'binding', ARGV[3], 'family', ARGV[4], 'expires_at', ARGV[5])
redis.call('PEXPIRE', KEYS[1], keep_for(tonumber(ARGV[5])))
return {'done'}
