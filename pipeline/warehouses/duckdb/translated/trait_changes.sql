-- of the GoogleSQL whose SHA-256 is e0dc8bfe0efcec83dc2b7f001da4fdc65a0367442ea9e89ef9d1cea56d097b84
SELECT
  id,
  external_id,
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
    COALESCE(
      LEAD(timestamp) OVER (
        PARTITION BY external_id, trait, deletes
        ORDER BY timestamp NULLS FIRST, message_id NULLS FIRST
      ),
      deleted_at
    ) AS valid_to
  FROM (
    SELECT
      *,
      LAG(text) OVER (
        PARTITION BY external_id, trait, deletes
        ORDER BY timestamp NULLS FIRST, message_id NULLS FIRST
      ) AS text_before
    FROM (
      SELECT
        *,
        COUNT_IF(trait IS NULL) OVER (
          PARTITION BY external_id
          ORDER BY timestamp NULLS FIRST, message_id NULLS FIRST
          ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS deletes,
        MIN(CASE WHEN trait IS NULL THEN timestamp ELSE NULL END) OVER (
          PARTITION BY external_id
          ORDER BY timestamp NULLS FIRST, message_id NULLS FIRST
          ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS deleted_at
      FROM (
        SELECT
          COALESCE(fact.user_id, fact.anonymous_id) AS id,
          COALESCE(identity.external_id, fact.user_id, fact.anonymous_id) AS external_id,
          fact.trait,
          fact.value,
          CAST(TO_JSON(fact.value) AS TEXT) AS text,
          fact.timestamp,
          fact.message_id,
          fact.connection
        FROM (
          SELECT
            user_id,
            anonymous_id,
            trait,
            value,
            timestamp,
            message_id,
            connection
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
          )
          WHERE
            type <> 'group'
          UNION ALL
          SELECT
            user_id,
            anonymous_id,
            NULL AS trait,
            NULL AS value,
            timestamp,
            message_id,
            connection
          FROM identity_calls_unique
          WHERE
            type = 'delete'
        ) AS fact
        LEFT JOIN identities AS identity
          ON identity.id = COALESCE(fact.user_id, fact.anonymous_id)
        QUALIFY
          ROW_NUMBER() OVER (
            PARTITION BY COALESCE(identity.external_id, fact.user_id, fact.anonymous_id), fact.trait, fact.timestamp, fact.message_id
            ORDER BY CAST(TO_JSON(fact.value) AS TEXT) DESC
          ) = 1
      )
    )
    WHERE
      NOT trait IS NULL
  )
  WHERE
    text_before IS NULL OR text_before <> text
)
WHERE
  text <> 'null'
