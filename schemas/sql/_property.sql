-- The Engage calls and the property that each sets, by the rules of docs/semantics.md, section 4: sent_as is the field
-- that carried it, key its name in snake case, value what it was set to. Identify, group and track calls only; those
-- that set no property have NULL.
SELECT
  * EXCEPT (value),
  LOWER(
    REGEXP_REPLACE(
      REGEXP_REPLACE(
        REGEXP_REPLACE(REGEXP_REPLACE(sent_as, r'[^\p{L}\p{Nd}]+', '_'), r'([\p{Ll}\p{Nd}])(\p{Lu})', r'\1_\2'),
        r'(\p{Lu})(\p{Lu}\p{Ll})',
        r'\1_\2'
      ),
      r'(\p{L})Σ([^\p{L}]|$)',
      r'\1ς\2'
    )
  ) AS key,
  CASE
    WHEN class IN ('audience', 'journey_step') AND TO_JSON_STRING(value) = '"true"' THEN PARSE_JSON('true')
    WHEN class IN ('audience', 'journey_step') AND TO_JSON_STRING(value) = '"false"' THEN PARSE_JSON('false')
    ELSE value
  END AS value
FROM (
  SELECT
    * EXCEPT (sent_as, document, enters),
    IF(document[sent_as] IS NOT NULL OR enters, sent_as, NULL) AS sent_as,
    IF(document[sent_as] IS NULL AND enters AND sent_as IS NOT NULL, PARSE_JSON('true'), document[sent_as]) AS value
  FROM (
    SELECT
      * EXCEPT (computation_key),
      class = 'journey_step' AND type != 'group' AS enters,
      CASE
        WHEN class IS NULL THEN NULL
        WHEN type = 'track' THEN
          COALESCE(
            IF(JSON_TYPE(document['audience_key']) = 'string', NULLIF(JSON_VALUE(document['audience_key']), ''), NULL),
            IF(JSON_TYPE(document['trait_key']) = 'string', NULLIF(JSON_VALUE(document['trait_key']), ''), NULL),
            NULLIF(computation_key, '')
          )
        WHEN document[computation_key] IS NOT NULL THEN computation_key
        ELSE
          COALESCE(
            (
              SELECT IF(COUNT(*) = 1, MAX(IF(STARTS_WITH(name, '"'), JSON_VALUE(SAFE.PARSE_JSON(name)), name)), NULL)
              FROM UNNEST(JSON_KEYS(document, 1)) AS name
              WHERE name NOT IN ('email', 'name', 'user_id', 'anonymous_id')
            ),
            IF(class = 'journey_step' AND type != 'group', NULLIF(computation_key, ''), NULL)
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
        IF(type = 'track', properties, traits) AS document,
        IF(
          JSON_VALUE(context, '$.personas.computation_class')
            IN ('audience', 'trait', 'computed_trait', 'journey_step'),
          JSON_VALUE(context, '$.personas.computation_class'),
          NULL
        ) AS class,
        IF(
          JSON_TYPE(JSON_QUERY(context, '$.personas.computation_key')) = 'string',
          JSON_VALUE(context, '$.personas.computation_key'),
          NULL
        ) AS computation_key
      FROM identity_calls_unique
      WHERE type IN ('identify', 'group', 'track')
    )
  )
)
