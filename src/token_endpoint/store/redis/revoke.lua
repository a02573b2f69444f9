-- KEYS: 1 the access token, 2 the refresh token with this hash; one of them exists. ARGV: 3 the client.
local id = redis.call('HGET', KEYS[2], 'family')
if id then
  local text, family = active_family(id)
  if not text then return {'gone'} end
  if family.client_id ~= ARGV[3] then return {'not yours'} end
  revoke_family(id)
  return {'gone'}
end
local text = redis.call('GET', KEYS[1])
if not text then return {'gone'} end
local record = cjson.decode(text)
if record.client_id == ARGV[3] then
  redis.call('DEL', KEYS[1])
elseif is_active(record) then
  return {'not yours'}
end
return {'gone'}
