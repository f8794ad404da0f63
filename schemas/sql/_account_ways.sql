-- The connections, and whether each maps accounts by group calls: then every group call has named its account, one of
-- them was named so last, and no account that this connection alone named has another explicit source.
SELECT
  used.connection,
  LOGICAL_AND(used.is_possible) AND LOGICAL_OR(used.is_shown) AS by_group
FROM (
  SELECT call.connection, account.account_id IS NOT NULL AS is_possible, FALSE AS is_shown
  FROM identity_calls AS call
  LEFT JOIN accounts AS account
    ON account.account_id = call.group_id AND call.connection IN UNNEST(account.connections)
  WHERE call.type = 'group'
  UNION ALL
  SELECT
    connection,
    ARRAY_LENGTH(account.connections) > 1 OR account.account_source != 'identify_traits' AS is_possible,
    account.account_source = 'group' AS is_shown
  FROM accounts AS account
  CROSS JOIN UNNEST(account.connections) AS connection
) AS used
GROUP BY used.connection
