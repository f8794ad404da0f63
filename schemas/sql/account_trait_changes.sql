-- Each value that each trait of a company got, and from when until when it stood, as in trait_changes: from the group
-- calls of connections that map accounts by them, and from the object that holds the id in identify calls of those that
-- map them by identify traits, by the configuration of the newest job. A path of more than four keys is not followed.
SELECT
  account_id, -- the company
  -- include _change.sql
  connection -- of that call
FROM (
  SELECT
    * EXCEPT (timestamp),
    timestamp AS valid_from,
    LEAD(timestamp) OVER (PARTITION BY account_id, trait ORDER BY timestamp, message_id) AS valid_to
  FROM (
    SELECT *, LAG(text) OVER (PARTITION BY account_id, trait ORDER BY timestamp, message_id) AS text_before
    FROM (
      SELECT
        COALESCE(company.company_id, account.account_id) AS account_id,
        fact.trait,
        fact.value,
        TO_JSON_STRING(fact.value) AS text,
        fact.timestamp,
        fact.message_id,
        fact.connection
      FROM (
        SELECT call.group_id AS account_id, call.trait, call.value, call.timestamp, call.message_id, call.connection
        FROM (
          -- include _facts.sql
        ) AS call
        JOIN (
          -- include _account_ways.sql
        ) AS way ON way.connection = call.connection AND way.by_group
        WHERE call.type = 'group'
        UNION ALL
        SELECT account_id, trait, holder[trait] AS value, timestamp, message_id, connection
        FROM (
          SELECT
            call.* EXCEPT (id),
            IF(
              JSON_TYPE(id) = 'number',
              REGEXP_REPLACE(JSON_VALUE(id), r'\.0+$', ''),
              REGEXP_REPLACE(JSON_VALUE(id), r'^[\pZ\t-\r\x1c-\x1f\x{85}]+|[\pZ\t-\r\x1c-\x1f\x{85}]+$', '')
            ) AS account_id,
            IF(STARTS_WITH(escaped, '"'), JSON_VALUE(SAFE.PARSE_JSON(escaped)), escaped) AS trait
          FROM (
            SELECT *, holder[own_key] AS id
            FROM (
              SELECT
                call.timestamp,
                call.message_id,
                call.connection,
                COALESCE(way.key_4, way.key_3, way.key_2) AS own_key,
                CASE
                  WHEN way.key_2 IS NULL OR way.key_5 IS NOT NULL THEN NULL
                  WHEN way.key_3 IS NULL THEN call.traits[way.key_1]
                  WHEN way.key_4 IS NULL THEN call.traits[way.key_1][way.key_2]
                  ELSE call.traits[way.key_1][way.key_2][way.key_3]
                END AS holder
              FROM identity_calls_unique AS call
              JOIN (
                -- include _account_ways.sql
              ) AS way ON way.connection = call.connection AND NOT way.by_group
              WHERE call.type = 'identify' AND COALESCE(TO_JSON_STRING(call.traits[way.id]), 'null') = 'null'
            )
            WHERE JSON_TYPE(holder) = 'object'
          ) AS call
          CROSS JOIN UNNEST(JSON_KEYS(call.holder, 1)) AS escaped
          WHERE JSON_TYPE(call.id) IN ('string', 'number')
        )
        WHERE trait != own_key
      ) AS fact
      JOIN accounts AS account ON account.account_id = fact.account_id
      JOIN (
        -- include _companies.sql
      ) AS company ON company.account_id = account.account_id
      WHERE fact.connection IN UNNEST(account.connections)
      -- Of two values of one call the greater text stands.
      QUALIFY
        ROW_NUMBER() OVER (
          PARTITION BY company.company_id, fact.trait, fact.timestamp, fact.message_id
          ORDER BY TO_JSON_STRING(fact.value) DESC
        ) = 1
    )
  )
  WHERE text_before IS NULL OR text_before != text
)
WHERE text != 'null'
