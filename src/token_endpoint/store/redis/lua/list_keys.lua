-- KEYS: the keys.
local reply = {clock, 'found'}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local kind, since, _, jwk = read_key(all[i + 1])
  if kind == 'p' then
    for _, part in ipairs({all[i], since, jwk}) do reply[#reply + 1] = part end
  end
end
return reply
