-- Dead letters written since the period began, by reason, with the newest of each.
SELECT
  reason,
  COUNT(*) OVER (PARTITION BY reason) AS letters,
  COUNTIF(retryable) OVER (PARTITION BY reason) AS retryable,
  UNIX_MICROS(failed_at) AS newest_at,
  dead_letter_id
FROM (
  SELECT dead_letter_id, MIN(reason) AS reason, LOGICAL_OR(retryable) AS retryable, MAX(failed_at) AS failed_at
  FROM dead_letters
  WHERE failed_at >= TIMESTAMP_MICROS(@since)
  GROUP BY dead_letter_id
)
QUALIFY ROW_NUMBER() OVER (PARTITION BY reason ORDER BY failed_at DESC, dead_letter_id) = 1
ORDER BY letters DESC, reason
