-- KEYS: row, tokens, expiries.
return end_session('done', KEYS[1], KEYS[2], KEYS[3])
