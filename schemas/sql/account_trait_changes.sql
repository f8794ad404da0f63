-- Each value that each trait of a company got, and from when until when it stood, as in trait_changes: from the group
-- calls of connections that map accounts by them, and from the company object of identify calls of those that map them
-- by identify traits, at the default path company.id.
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
        SELECT group_id AS account_id, TRUE AS by_group, trait, value, timestamp, message_id, connection
        FROM (
          -- include _facts.sql
        )
        WHERE type = 'group'
        UNION ALL
        SELECT account_id, FALSE AS by_group, trait, company[trait] AS value, timestamp, message_id, connection
        FROM (
          SELECT
            call.*,
            IF(STARTS_WITH(escaped, '"'), JSON_VALUE(SAFE.PARSE_JSON(escaped)), escaped) AS trait
          FROM (
            SELECT
              IF(
                JSON_TYPE(JSON_QUERY(traits, '$.company.id')) = 'number',
                REGEXP_REPLACE(JSON_VALUE(traits, '$.company.id'), r'\.0+$', ''),
                TRIM(JSON_VALUE(traits, '$.company.id'))
              ) AS account_id,
              JSON_QUERY(traits, '$.company') AS company,
              timestamp,
              message_id,
              connection
            FROM identity_calls_unique
            WHERE
              type = 'identify'
              AND JSON_VALUE(traits, '$.company.id') IS NOT NULL
              AND COALESCE(TO_JSON_STRING(traits['company.id']), 'null') = 'null'
          ) AS call
          CROSS JOIN UNNEST(JSON_KEYS(call.company, 1)) AS escaped
        )
        WHERE trait != 'id'
      ) AS fact
      JOIN accounts AS account ON account.account_id = fact.account_id
      JOIN (
        -- include _account_ways.sql
      ) AS way ON way.connection = fact.connection AND way.by_group = fact.by_group
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
