-- of the GoogleSQL whose SHA-256 is c8baabe27446683b236a7096ab54931268cebff58b789b1f52920307a3bbd8c0
SELECT
  account_id,
  trait,
  value,
  CASE WHEN JSON_TYPE(value) IN ('OBJECT', 'ARRAY') THEN NULL ELSE value ->> '$' END AS value_text,
  valid_from,
  valid_to,
  message_id,
  connection
FROM (
  SELECT
    *
    EXCLUDE (timestamp),
    timestamp AS valid_from,
    LEAD(timestamp) OVER (
      PARTITION BY account_id, trait
      ORDER BY timestamp NULLS FIRST, message_id NULLS FIRST
    ) AS valid_to
  FROM (
    SELECT
      *,
      LAG(text) OVER (
        PARTITION BY account_id, trait
        ORDER BY timestamp NULLS FIRST, message_id NULLS FIRST
      ) AS text_before
    FROM (
      SELECT
        COALESCE(company.company_id, account.account_id) AS account_id,
        fact.trait,
        fact.value,
        CAST(TO_JSON(fact.value) AS TEXT) AS text,
        fact.timestamp,
        fact.message_id,
        fact.connection
      FROM (
        SELECT
          call.group_id AS account_id,
          call.trait,
          call.value,
          call.timestamp,
          call.message_id,
          call.connection
        FROM (
          SELECT
            call.*
            EXCLUDE (name, traits, sent_as, key, value),
            CASE WHEN name IS NULL THEN key ELSE name END AS trait,
            CASE
              WHEN name IS NULL
              THEN value
              ELSE JSON_EXTRACT(traits, '/' || REPLACE(REPLACE(name, '~', '~0'), '/', '~1'))
            END AS value
          FROM (
            SELECT
              call.*,
              CASE
                WHEN STARTS_WITH(escaped, '"')
                THEN CASE
                  WHEN JSON_TYPE(TRY_CAST(escaped AS JSON)) IN ('OBJECT', 'ARRAY')
                  THEN NULL
                  ELSE TRY_CAST(escaped AS JSON) ->> '$'
                END
                ELSE escaped
              END AS name
            FROM (
              SELECT
                *
                EXCLUDE (value),
                LOWER(
                  REGEXP_REPLACE(
                    REGEXP_REPLACE(
                      REGEXP_REPLACE(
                        REGEXP_REPLACE(sent_as, '[^\p{L}\p{Nd}]+', '_', 'g'),
                        '([\p{Ll}\p{Nd}])(\p{Lu})',
                        '\1_\2',
                        'g'
                      ),
                      '(\p{Lu})(\p{Lu}\p{Ll})',
                      '\1_\2',
                      'g'
                    ),
                    '(\p{L})Σ([^\p{L}]|$)',
                    '\1ς\2',
                    'g'
                  )
                ) AS key,
                CASE
                  WHEN class IN ('audience', 'journey_step') AND CAST(TO_JSON(value) AS TEXT) = '"true"'
                  THEN JSON('true')
                  WHEN class IN ('audience', 'journey_step')
                  AND CAST(TO_JSON(value) AS TEXT) = '"false"'
                  THEN JSON('false')
                  ELSE value
                END AS value
              FROM (
                SELECT
                  *
                  EXCLUDE (sent_as, document, enters),
                  CASE
                    WHEN NOT JSON_EXTRACT(document, '/' || REPLACE(REPLACE(sent_as, '~', '~0'), '/', '~1')) IS NULL
                    OR enters
                    THEN sent_as
                    ELSE NULL
                  END AS sent_as,
                  CASE
                    WHEN JSON_EXTRACT(document, '/' || REPLACE(REPLACE(sent_as, '~', '~0'), '/', '~1')) IS NULL
                    AND enters
                    AND NOT sent_as IS NULL
                    THEN JSON('true')
                    ELSE JSON_EXTRACT(document, '/' || REPLACE(REPLACE(sent_as, '~', '~0'), '/', '~1'))
                  END AS value
                FROM (
                  SELECT
                    *
                    EXCLUDE (computation_key),
                    class = 'journey_step' AND type <> 'group' AS enters,
                    CASE
                      WHEN class IS NULL
                      THEN NULL
                      WHEN type = 'track'
                      THEN COALESCE(
                        CASE
                          WHEN JSON_TYPE(JSON_EXTRACT(document, '/audience_key')) = 'VARCHAR'
                          THEN NULLIF(
                            CASE
                              WHEN JSON_TYPE(JSON_EXTRACT(document, '/audience_key')) IN ('OBJECT', 'ARRAY')
                              THEN NULL
                              ELSE JSON_EXTRACT(document, '/audience_key') ->> '$'
                            END,
                            ''
                          )
                          ELSE NULL
                        END,
                        CASE
                          WHEN JSON_TYPE(JSON_EXTRACT(document, '/trait_key')) = 'VARCHAR'
                          THEN NULLIF(
                            CASE
                              WHEN JSON_TYPE(JSON_EXTRACT(document, '/trait_key')) IN ('OBJECT', 'ARRAY')
                              THEN NULL
                              ELSE JSON_EXTRACT(document, '/trait_key') ->> '$'
                            END,
                            ''
                          )
                          ELSE NULL
                        END,
                        NULLIF(computation_key, '')
                      )
                      WHEN NOT JSON_EXTRACT(document, '/' || REPLACE(REPLACE(computation_key, '~', '~0'), '/', '~1')) IS NULL
                      THEN computation_key
                      ELSE COALESCE(
                        (
                          SELECT
                            CASE
                              WHEN COUNT(*) = 1
                              THEN MAX(
                                CASE
                                  WHEN STARTS_WITH(name, '"')
                                  THEN CASE
                                    WHEN JSON_TYPE(TRY_CAST(name AS JSON)) IN ('OBJECT', 'ARRAY')
                                    THEN NULL
                                    ELSE TRY_CAST(name AS JSON) ->> '$'
                                  END
                                  ELSE name
                                END
                              )
                              ELSE NULL
                            END
                          FROM UNNEST(LIST_TRANSFORM(
                            JSON_KEYS(document),
                            LAMBDA key : CASE WHEN STARTS_WITH(key, '"') THEN CAST(TO_JSON(key) AS TEXT) ELSE key END
                          )) AS _t0(name)
                          WHERE
                            NOT name IN ('email', 'name', 'user_id', 'anonymous_id')
                        ),
                        CASE
                          WHEN class = 'journey_step' AND type <> 'group'
                          THEN NULLIF(computation_key, '')
                          ELSE NULL
                        END
                      )
                    END AS sent_as
                  FROM (
                    SELECT
                      message_id,
                      type,
                      timestamp,
                      user_id,
                      anonymous_id,
                      group_id,
                      connection,
                      traits,
                      CASE WHEN type = 'track' THEN properties ELSE traits END AS document,
                      CASE
                        WHEN (
                          JSON_VALUE(context, '$.personas.computation_class') ->> '$'
                        ) IN ('audience', 'trait', 'computed_trait', 'journey_step')
                        THEN JSON_VALUE(context, '$.personas.computation_class') ->> '$'
                        ELSE NULL
                      END AS class,
                      CASE
                        WHEN JSON_TYPE(context -> '$.personas.computation_key') = 'VARCHAR'
                        THEN JSON_VALUE(context, '$.personas.computation_key') ->> '$'
                        ELSE NULL
                      END AS computation_key
                    FROM identity_calls_unique
                    WHERE
                      type IN ('identify', 'group', 'track')
                  )
                )
              )
            ) AS call
            CROSS JOIN UNNEST(LIST_CONCAT(
              CASE
                WHEN call.type = 'track'
                THEN []
                ELSE LIST_TRANSFORM(
                  JSON_KEYS(call.traits),
                  LAMBDA key : CASE WHEN STARTS_WITH(key, '"') THEN CAST(TO_JSON(key) AS TEXT) ELSE key END
                )
              END,
              CASE WHEN call.key IS NULL THEN [] ELSE [CAST(NULL AS TEXT)] END
            )) AS _t1(escaped)
          ) AS call
          WHERE
            name IS NULL OR sent_as IS NULL OR name <> sent_as
        ) AS call
        JOIN (
          SELECT
            used.connection,
            CASE
              WHEN used.mapping IS NULL
              THEN used.by_group
              ELSE CASE JSON_VALUE(used.mapping, '$.method') ->> '$'
                WHEN 'group'
                THEN TRUE
                WHEN 'identify_traits'
                THEN FALSE
              END
            END AS by_group,
            CASE
              WHEN used.mapping IS NULL
              THEN 'company.id'
              ELSE JSON_VALUE(used.mapping, '$.id') ->> '$'
            END AS id,
            CASE
              WHEN used.mapping IS NULL
              THEN 'company'
              ELSE JSON_VALUE(used.mapping, '$.key_1') ->> '$'
            END AS key_1,
            CASE
              WHEN used.mapping IS NULL
              THEN 'id'
              ELSE JSON_VALUE(used.mapping, '$.key_2') ->> '$'
            END AS key_2,
            JSON_VALUE(used.mapping, '$.key_3') ->> '$' AS key_3,
            JSON_VALUE(used.mapping, '$.key_4') ->> '$' AS key_4,
            JSON_VALUE(used.mapping, '$.key_5') ->> '$' AS key_5
          FROM (
            SELECT
              used.connection,
              used.by_group,
              COALESCE(
                JSON_EXTRACT(
                  JSON_EXTRACT(job.account_mappings, '/connections'),
                  '/' || REPLACE(REPLACE(used.connection, '~', '~0'), '/', '~1')
                ),
                JSON_EXTRACT(job.account_mappings, '/others')
              ) AS mapping
            FROM (
              SELECT
                connection,
                BOOL_AND(CAST(is_possible AS BOOLEAN)) AND BOOL_OR(CAST(is_shown AS BOOLEAN)) AS by_group
              FROM (
                SELECT
                  call.connection,
                  NOT account.account_id IS NULL AS is_possible,
                  FALSE AS is_shown
                FROM identity_calls AS call
                LEFT JOIN accounts AS account
                  ON account.account_id = call.group_id
                  AND CASE
                    WHEN account.connections IS NULL OR ARRAY_LENGTH(account.connections) = 0
                    THEN FALSE
                    WHEN ARRAY_CONTAINS(account.connections, call.connection)
                    THEN TRUE
                    WHEN call.connection IS NULL
                    OR ARRAY_LENGTH(account.connections) <> LIST_COUNT(account.connections)
                    THEN NULL
                    ELSE FALSE
                  END
                WHERE
                  call.type = 'group'
                UNION ALL
                SELECT
                  connection,
                  ARRAY_LENGTH(account.connections) > 1
                  OR account.account_source <> 'identify_traits' AS is_possible,
                  account.account_source = 'group' AS is_shown
                FROM accounts AS account
                CROSS JOIN UNNEST(account.connections) AS _t2(connection)
              )
              GROUP BY
                connection
            ) AS used
            LEFT JOIN (
              SELECT
                account_mappings
              FROM jobs
              WHERE
                NOT account_mappings IS NULL
              QUALIFY
                ROW_NUMBER() OVER (ORDER BY generation DESC) = 1
            ) AS job
              ON TRUE
          ) AS used
        ) AS way
          ON way.connection = call.connection AND way.by_group
        WHERE
          call.type = 'group'
        UNION ALL
        SELECT
          account_id,
          trait,
          JSON_EXTRACT(holder, '/' || REPLACE(REPLACE(trait, '~', '~0'), '/', '~1')) AS value,
          timestamp,
          message_id,
          connection
        FROM (
          SELECT
            call.*
            EXCLUDE (id),
            CASE
              WHEN JSON_TYPE(id) IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
              THEN REGEXP_REPLACE(
                CASE
                  WHEN JSON_TYPE(TRY_CAST(id AS JSON)) IN ('OBJECT', 'ARRAY')
                  THEN NULL
                  ELSE TRY_CAST(id AS JSON) ->> '$'
                END,
                '\.0+$',
                '',
                'g'
              )
              ELSE REGEXP_REPLACE(
                CASE
                  WHEN JSON_TYPE(TRY_CAST(id AS JSON)) IN ('OBJECT', 'ARRAY')
                  THEN NULL
                  ELSE TRY_CAST(id AS JSON) ->> '$'
                END,
                '^[\pZ\t-\r\x1c-\x1f\x{85}]+|[\pZ\t-\r\x1c-\x1f\x{85}]+$',
                '',
                'g'
              )
            END AS account_id,
            CASE
              WHEN STARTS_WITH(escaped, '"')
              THEN CASE
                WHEN JSON_TYPE(TRY_CAST(escaped AS JSON)) IN ('OBJECT', 'ARRAY')
                THEN NULL
                ELSE TRY_CAST(escaped AS JSON) ->> '$'
              END
              ELSE escaped
            END AS trait
          FROM (
            SELECT
              *,
              JSON_EXTRACT(holder, '/' || REPLACE(REPLACE(own_key, '~', '~0'), '/', '~1')) AS id
            FROM (
              SELECT
                call.timestamp,
                call.message_id,
                call.connection,
                COALESCE(way.key_4, way.key_3, way.key_2) AS own_key,
                CASE
                  WHEN way.key_2 IS NULL OR NOT way.key_5 IS NULL
                  THEN NULL
                  WHEN way.key_3 IS NULL
                  THEN JSON_EXTRACT(call.traits, '/' || REPLACE(REPLACE(way.key_1, '~', '~0'), '/', '~1'))
                  WHEN way.key_4 IS NULL
                  THEN JSON_EXTRACT(
                    JSON_EXTRACT(call.traits, '/' || REPLACE(REPLACE(way.key_1, '~', '~0'), '/', '~1')),
                    '/' || REPLACE(REPLACE(way.key_2, '~', '~0'), '/', '~1')
                  )
                  ELSE JSON_EXTRACT(
                    JSON_EXTRACT(
                      JSON_EXTRACT(call.traits, '/' || REPLACE(REPLACE(way.key_1, '~', '~0'), '/', '~1')),
                      '/' || REPLACE(REPLACE(way.key_2, '~', '~0'), '/', '~1')
                    ),
                    '/' || REPLACE(REPLACE(way.key_3, '~', '~0'), '/', '~1')
                  )
                END AS holder
              FROM identity_calls_unique AS call
              JOIN (
                SELECT
                  used.connection,
                  CASE
                    WHEN used.mapping IS NULL
                    THEN used.by_group
                    ELSE CASE JSON_VALUE(used.mapping, '$.method') ->> '$'
                      WHEN 'group'
                      THEN TRUE
                      WHEN 'identify_traits'
                      THEN FALSE
                    END
                  END AS by_group,
                  CASE
                    WHEN used.mapping IS NULL
                    THEN 'company.id'
                    ELSE JSON_VALUE(used.mapping, '$.id') ->> '$'
                  END AS id,
                  CASE
                    WHEN used.mapping IS NULL
                    THEN 'company'
                    ELSE JSON_VALUE(used.mapping, '$.key_1') ->> '$'
                  END AS key_1,
                  CASE
                    WHEN used.mapping IS NULL
                    THEN 'id'
                    ELSE JSON_VALUE(used.mapping, '$.key_2') ->> '$'
                  END AS key_2,
                  JSON_VALUE(used.mapping, '$.key_3') ->> '$' AS key_3,
                  JSON_VALUE(used.mapping, '$.key_4') ->> '$' AS key_4,
                  JSON_VALUE(used.mapping, '$.key_5') ->> '$' AS key_5
                FROM (
                  SELECT
                    used.connection,
                    used.by_group,
                    COALESCE(
                      JSON_EXTRACT(
                        JSON_EXTRACT(job.account_mappings, '/connections'),
                        '/' || REPLACE(REPLACE(used.connection, '~', '~0'), '/', '~1')
                      ),
                      JSON_EXTRACT(job.account_mappings, '/others')
                    ) AS mapping
                  FROM (
                    SELECT
                      connection,
                      BOOL_AND(CAST(is_possible AS BOOLEAN)) AND BOOL_OR(CAST(is_shown AS BOOLEAN)) AS by_group
                    FROM (
                      SELECT
                        call.connection,
                        NOT account.account_id IS NULL AS is_possible,
                        FALSE AS is_shown
                      FROM identity_calls AS call
                      LEFT JOIN accounts AS account
                        ON account.account_id = call.group_id
                        AND CASE
                          WHEN account.connections IS NULL OR ARRAY_LENGTH(account.connections) = 0
                          THEN FALSE
                          WHEN ARRAY_CONTAINS(account.connections, call.connection)
                          THEN TRUE
                          WHEN call.connection IS NULL
                          OR ARRAY_LENGTH(account.connections) <> LIST_COUNT(account.connections)
                          THEN NULL
                          ELSE FALSE
                        END
                      WHERE
                        call.type = 'group'
                      UNION ALL
                      SELECT
                        connection,
                        ARRAY_LENGTH(account.connections) > 1
                        OR account.account_source <> 'identify_traits' AS is_possible,
                        account.account_source = 'group' AS is_shown
                      FROM accounts AS account
                      CROSS JOIN UNNEST(account.connections) AS _t3(connection)
                    )
                    GROUP BY
                      connection
                  ) AS used
                  LEFT JOIN (
                    SELECT
                      account_mappings
                    FROM jobs
                    WHERE
                      NOT account_mappings IS NULL
                    QUALIFY
                      ROW_NUMBER() OVER (ORDER BY generation DESC) = 1
                  ) AS job
                    ON TRUE
                ) AS used
              ) AS way
                ON way.connection = call.connection AND NOT way.by_group
              WHERE
                call.type = 'identify'
                AND COALESCE(
                  CAST(TO_JSON(JSON_EXTRACT(call.traits, '/' || REPLACE(REPLACE(way.id, '~', '~0'), '/', '~1'))) AS TEXT),
                  'null'
                ) = 'null'
            )
            WHERE
              JSON_TYPE(holder) = 'OBJECT'
          ) AS call
          CROSS JOIN UNNEST(LIST_TRANSFORM(
            JSON_KEYS(call.holder),
            LAMBDA key : CASE WHEN STARTS_WITH(key, '"') THEN CAST(TO_JSON(key) AS TEXT) ELSE key END
          )) AS _t4(escaped)
          WHERE
            JSON_TYPE(call.id) IN ('VARCHAR', 'BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
        )
        WHERE
          trait <> own_key
      ) AS fact
      JOIN accounts AS account
        ON account.account_id = fact.account_id
      JOIN (
        SELECT
          account.account_id,
          COALESCE(owner.account_id, account.account_id) AS company_id
        FROM accounts AS account
        LEFT JOIN (
          SELECT
            domain,
            MIN(account_id) AS account_id
          FROM accounts
          WHERE
            account_source <> 'email_domain' AND NOT domain IS NULL
          GROUP BY
            domain
          HAVING
            COUNT(*) = 1
        ) AS owner
          ON account.account_source = 'email_domain' AND owner.domain = account.account_id
      ) AS company
        ON company.account_id = account.account_id
      WHERE
        CASE
          WHEN account.connections IS NULL OR ARRAY_LENGTH(account.connections) = 0
          THEN FALSE
          WHEN ARRAY_CONTAINS(account.connections, fact.connection)
          THEN TRUE
          WHEN fact.connection IS NULL
          OR ARRAY_LENGTH(account.connections) <> LIST_COUNT(account.connections)
          THEN NULL
          ELSE FALSE
        END
      QUALIFY
        ROW_NUMBER() OVER (
          PARTITION BY company.company_id, fact.trait, fact.timestamp, fact.message_id
          ORDER BY CAST(TO_JSON(fact.value) AS TEXT) DESC
        ) = 1
    )
  )
  WHERE
    text_before IS NULL OR text_before <> text
)
WHERE
  text <> 'null'
