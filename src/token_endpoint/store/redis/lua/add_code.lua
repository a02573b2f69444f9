-- KEYS: the row. ARGV: 3 code, 4 record, 5 client, 6 subject, 7 expiry.
redis.call('HSET', KEYS[1], 'code', ARGV[3], 'record', ARGV[4], 'client', ARGV[5], 'subject', ARGV[6],
  'expires_at', ARGV[7], 'used_at', ARGV[1])
keep(KEYS[1], tonumber(ARGV[7]))
return {clock, 'done'}
