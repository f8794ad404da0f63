-- of the GoogleSQL whose SHA-256 is f34d358b6a442a899c93c913eaedc23f5c9e396e9b20d81d86058839218772ec
SELECT
  COALESCE(identity.external_id, call.user_id, call.anonymous_id) AS external_id,
  call.key AS audience_key,
  CASE CAST(TO_JSON(call.value) AS TEXT)
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS is_member,
  call.timestamp,
  call.message_id,
  call.connection
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
LEFT JOIN identities AS identity
  ON identity.id = COALESCE(call.user_id, call.anonymous_id)
WHERE
  NOT call.sent_as IS NULL
  AND call.class IN ('audience', 'journey_step')
  AND call.type <> 'group'
  AND CAST(TO_JSON(call.value) AS TEXT) IN ('true', 'false', 'null')
