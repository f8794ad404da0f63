-- Each value that each trait of a person got, and from when until when it was valid, by the rules of contacts.traits:
-- the value at a time has valid_from <= time and valid_to > time or NULL. The same value again is not a change; null
-- and a delete end one. The rows of a contact without valid_to are its traits.
SELECT
  id, -- the id that the value was sent to
  external_id, -- the label of the contact that the id belongs to now
  -- include _change.sql
  connection -- of that call
FROM (
  SELECT
    * EXCEPT (timestamp),
    timestamp AS valid_from,
    COALESCE(
      LEAD(timestamp) OVER (PARTITION BY external_id, trait, deletes ORDER BY timestamp, message_id),
      deleted_at
    ) AS valid_to
  FROM (
    SELECT
      *,
      LAG(text) OVER (PARTITION BY external_id, trait, deletes ORDER BY timestamp, message_id) AS text_before
    FROM (
      SELECT
        *,
        COUNTIF(trait IS NULL) OVER (
          PARTITION BY external_id
          ORDER BY timestamp, message_id
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS deletes,
        MIN(IF(trait IS NULL, timestamp, NULL)) OVER (
          PARTITION BY external_id
          ORDER BY timestamp, message_id
          ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS deleted_at
      FROM (
        SELECT
          COALESCE(fact.user_id, fact.anonymous_id) AS id,
          COALESCE(identity.external_id, fact.user_id, fact.anonymous_id) AS external_id,
          fact.trait,
          fact.value,
          TO_JSON_STRING(fact.value) AS text,
          fact.timestamp,
          fact.message_id,
          fact.connection
        FROM (
          SELECT user_id, anonymous_id, trait, value, timestamp, message_id, connection
          FROM (
            -- include _facts.sql
          )
          WHERE type != 'group'
          UNION ALL
          SELECT user_id, anonymous_id, NULL AS trait, NULL AS value, timestamp, message_id, connection
          FROM identity_calls_unique
          WHERE type = 'delete'
        ) AS fact
        LEFT JOIN identities AS identity ON identity.id = COALESCE(fact.user_id, fact.anonymous_id)
        -- Of two values of one call the greater text stands.
        QUALIFY
          ROW_NUMBER() OVER (
            PARTITION BY
              COALESCE(identity.external_id, fact.user_id, fact.anonymous_id),
              fact.trait,
              fact.timestamp,
              fact.message_id
            ORDER BY TO_JSON_STRING(fact.value) DESC
          ) = 1
      )
    )
    WHERE trait IS NOT NULL
  )
  WHERE text_before IS NULL OR text_before != text
)
WHERE text != 'null'
