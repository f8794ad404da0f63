-- Each call by which Engage put a person into an audience or a journey step, or took it out, by the rules of
-- contacts.audiences.
SELECT
  COALESCE(identity.external_id, call.user_id, call.anonymous_id) AS external_id, -- the label of the contact that the call belongs to now
  call.key AS audience_key, -- the audience's key, in snake case
  CASE TO_JSON_STRING(call.value) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END AS is_member, -- whether the person is in the audience from then on; NULL where the call forgot that it ever was
  call.timestamp, -- when it happened
  call.message_id, -- of the call
  call.connection -- of the call
FROM (
  -- include _property.sql
) AS call
LEFT JOIN identities AS identity ON identity.id = COALESCE(call.user_id, call.anonymous_id)
WHERE
  call.sent_as IS NOT NULL
  AND call.class IN ('audience', 'journey_step')
  AND call.type != 'group'
  AND TO_JSON_STRING(call.value) IN ('true', 'false', 'null')
