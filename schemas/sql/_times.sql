-- A logged call's times. The log keeps two of them in the payload alone, as ISO 8601 text.
received_at,
SAFE_CAST(REGEXP_EXTRACT(
  JSON_VALUE(payload, '$.sentAt'),
  r'^[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)$'
) AS TIMESTAMP) AS sent_at,
timestamp,
SAFE_CAST(REGEXP_EXTRACT(
  JSON_VALUE(payload, '$.originalTimestamp'),
  r'^[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)$'
) AS TIMESTAMP) AS original_timestamp,
