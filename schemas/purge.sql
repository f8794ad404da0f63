-- Purges what a deleted person left behind, up to the newest delete call that names one of the person's ids: their events
-- and dead letters go, and their calls in the log keep ids and times only, so that it still gives the same contacts. What
-- came after that delete stays. The parameter id is any id of the person. The result says what went and what is left.
CREATE OR REPLACE TEMP TABLE person AS
SELECT COALESCE((SELECT MAX(external_id) FROM identities WHERE id = @id), @id) AS id
UNION DISTINCT
SELECT id
FROM identities
WHERE external_id = COALESCE((SELECT MAX(external_id) FROM identities WHERE id = @id), @id);

CREATE OR REPLACE TEMP TABLE forgotten AS
SELECT timestamp, message_id
FROM identity_calls
WHERE type = 'delete' AND COALESCE(user_id, anonymous_id) IN (SELECT id FROM person)
QUALIFY ROW_NUMBER() OVER (ORDER BY timestamp DESC, message_id DESC) = 1;

CREATE OR REPLACE TEMP TABLE old_events AS
SELECT event.message_id
FROM events AS event
JOIN forgotten
  ON event.timestamp < forgotten.timestamp
  OR (event.timestamp = forgotten.timestamp AND event.message_id <= forgotten.message_id)
WHERE COALESCE(event.user_id, event.anonymous_id) IN (SELECT id FROM person);

CREATE OR REPLACE TEMP TABLE old_calls AS
SELECT call.message_id
FROM identity_calls AS call
JOIN forgotten
  ON call.timestamp < forgotten.timestamp
  OR (call.timestamp = forgotten.timestamp AND call.message_id <= forgotten.message_id)
WHERE call.type <> 'delete' AND COALESCE(call.user_id, call.anonymous_id) IN (SELECT id FROM person);

-- An id that is a number may stand in a message without quotes.
CREATE OR REPLACE TEMP TABLE old_dead_letters AS
SELECT DISTINCT letter.dead_letter_id
FROM dead_letters AS letter
CROSS JOIN person
CROSS JOIN forgotten
WHERE STRPOS(SAFE_CONVERT_BYTES_TO_STRING(letter.payload), TO_JSON_STRING(person.id)) > 0
  OR (
    REGEXP_CONTAINS(person.id, r'^[0-9]+$')
    AND REGEXP_CONTAINS(
      SAFE_CONVERT_BYTES_TO_STRING(letter.payload), CONCAT(r'[:,\[\s]', person.id, r'(?:\.0+)?[,\]}\s]')
    )
  );

CREATE OR REPLACE TEMP TABLE purged AS
SELECT 'events' AS name, COUNT(*) AS purged FROM old_events
UNION ALL
SELECT 'identity_calls', COUNT(*) FROM old_calls
UNION ALL
SELECT 'dead_letters', COUNT(*) FROM old_dead_letters;

DELETE FROM events WHERE message_id IN (SELECT message_id FROM old_events);

DELETE FROM dead_letters WHERE dead_letter_id IN (SELECT dead_letter_id FROM old_dead_letters);

UPDATE identity_calls
SET
  traits = JSON '{}',
  properties = CASE type WHEN 'track' THEN JSON '{}' END,
  context = JSON '{}',
  payload = TO_JSON_STRING(JSON_OBJECT(
    'type', type,
    'messageId', message_id,
    'timestamp', timestamp,
    'receivedAt', received_at,
    'userId', user_id,
    'anonymousId', anonymous_id,
    'previousId', previous_id,
    'groupId', CASE type WHEN 'group' THEN group_id END,
    'event', CASE type WHEN 'track' THEN 'purged' END
  ))
WHERE message_id IN (SELECT message_id FROM old_calls);

SELECT
  purged.name AS table_name,
  EXISTS (SELECT 1 FROM forgotten) AS deleted,
  purged.purged,
  remaining.remaining
FROM purged
JOIN (
  SELECT 'events' AS name, COUNT(*) AS remaining
  FROM events
  WHERE COALESCE(user_id, anonymous_id) IN (SELECT id FROM person)
  UNION ALL
  SELECT 'identity_calls', COUNT(*)
  FROM identity_calls
  WHERE type <> 'delete'
    AND COALESCE(user_id, anonymous_id) IN (SELECT id FROM person)
    AND message_id NOT IN (SELECT message_id FROM old_calls)
  UNION ALL
  SELECT 'dead_letters', 0
) AS remaining ON remaining.name = purged.name
ORDER BY table_name
