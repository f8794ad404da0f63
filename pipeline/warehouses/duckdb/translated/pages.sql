-- of the GoogleSQL whose SHA-256 is 18d6981223fb7eb54c0483c957bb9f49a6d49aa4dc55fb9507c7de7aea27d1da
SELECT
  message_id AS id,
  anonymous_id,
  user_id,
  received_at,
  sent_at,
  timestamp,
  original_timestamp,
  received_at AS uuid_ts,
  received_at AS loaded_at,
  CASE JSON_VALUE(context, '$.active') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_active,
  JSON_VALUE(context, '$.app.build') ->> '$' AS context_app_build,
  JSON_VALUE(context, '$.app.name') ->> '$' AS context_app_name,
  JSON_VALUE(context, '$.app.namespace') ->> '$' AS context_app_namespace,
  JSON_VALUE(context, '$.app.version') ->> '$' AS context_app_version,
  JSON_VALUE(context, '$.campaign.content') ->> '$' AS context_campaign_content,
  JSON_VALUE(context, '$.campaign.id') ->> '$' AS context_campaign_id,
  JSON_VALUE(context, '$.campaign.medium') ->> '$' AS context_campaign_medium,
  JSON_VALUE(context, '$.campaign.name') ->> '$' AS context_campaign_name,
  JSON_VALUE(context, '$.campaign.source') ->> '$' AS context_campaign_source,
  JSON_VALUE(context, '$.campaign.term') ->> '$' AS context_campaign_term,
  CASE JSON_VALUE(context, '$.device.adTrackingEnabled') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_device_ad_tracking_enabled,
  JSON_VALUE(context, '$.device.advertisingId') ->> '$' AS context_device_advertising_id,
  JSON_VALUE(context, '$.device.id') ->> '$' AS context_device_id,
  JSON_VALUE(context, '$.device.manufacturer') ->> '$' AS context_device_manufacturer,
  JSON_VALUE(context, '$.device.model') ->> '$' AS context_device_model,
  JSON_VALUE(context, '$.device.name') ->> '$' AS context_device_name,
  JSON_VALUE(context, '$.device.token') ->> '$' AS context_device_token,
  JSON_VALUE(context, '$.device.type') ->> '$' AS context_device_type,
  JSON_VALUE(context, '$.device.version') ->> '$' AS context_device_version,
  JSON_VALUE(context, '$.groupId') ->> '$' AS context_group_id,
  JSON_VALUE(context, '$.ip') ->> '$' AS context_ip,
  JSON_VALUE(context, '$.library.name') ->> '$' AS context_library_name,
  JSON_VALUE(context, '$.library.version') ->> '$' AS context_library_version,
  JSON_VALUE(context, '$.locale') ->> '$' AS context_locale,
  JSON_VALUE(context, '$.location.city') ->> '$' AS context_location_city,
  JSON_VALUE(context, '$.location.country') ->> '$' AS context_location_country,
  TRY_CAST(JSON_VALUE(context, '$.location.latitude') ->> '$' AS DOUBLE) AS context_location_latitude,
  TRY_CAST(JSON_VALUE(context, '$.location.longitude') ->> '$' AS DOUBLE) AS context_location_longitude,
  JSON_VALUE(context, '$.location.region') ->> '$' AS context_location_region,
  TRY_CAST(JSON_VALUE(context, '$.location.speed') ->> '$' AS DOUBLE) AS context_location_speed,
  CASE JSON_VALUE(context, '$.network.bluetooth') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_network_bluetooth,
  JSON_VALUE(context, '$.network.carrier') ->> '$' AS context_network_carrier,
  CASE JSON_VALUE(context, '$.network.cellular') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_network_cellular,
  CASE JSON_VALUE(context, '$.network.wifi') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_network_wifi,
  JSON_VALUE(context, '$.os.name') ->> '$' AS context_os_name,
  JSON_VALUE(context, '$.os.version') ->> '$' AS context_os_version,
  JSON_VALUE(context, '$.page.hash') ->> '$' AS context_page_hash,
  JSON_VALUE(context, '$.page.path') ->> '$' AS context_page_path,
  JSON_VALUE(context, '$.page.referrer') ->> '$' AS context_page_referrer,
  JSON_VALUE(context, '$.page.search') ->> '$' AS context_page_search,
  JSON_VALUE(context, '$.page.title') ->> '$' AS context_page_title,
  JSON_VALUE(context, '$.page.url') ->> '$' AS context_page_url,
  JSON_VALUE(context, '$.protocols.event_version') ->> '$' AS context_protocols_event_version,
  JSON_VALUE(context, '$.protocols.sourceId') ->> '$' AS context_protocols_source_id,
  CASE
    WHEN CASE JSON_TYPE((
        context -> '$.protocols.violations'
      ))
      WHEN 'VARCHAR'
      THEN 'string'
      WHEN 'BOOLEAN'
      THEN 'boolean'
      WHEN 'NULL'
      THEN 'null'
      WHEN 'ARRAY'
      THEN 'array'
      WHEN 'OBJECT'
      THEN 'object'
      WHEN 'BIGINT'
      THEN 'number'
      WHEN 'UBIGINT'
      THEN 'number'
      WHEN 'HUGEINT'
      THEN 'number'
      WHEN 'DOUBLE'
      THEN 'number'
    END = 'array'
    THEN CAST(TO_JSON(context -> '$.protocols.violations') AS TEXT)
    ELSE NULL
  END AS context_protocols_violations,
  JSON_VALUE(context, '$.referrer.id') ->> '$' AS context_referrer_id,
  JSON_VALUE(context, '$.referrer.link') ->> '$' AS context_referrer_link,
  JSON_VALUE(context, '$.referrer.name') ->> '$' AS context_referrer_name,
  JSON_VALUE(context, '$.referrer.type') ->> '$' AS context_referrer_type,
  JSON_VALUE(context, '$.referrer.url') ->> '$' AS context_referrer_url,
  TRY_CAST(JSON_VALUE(context, '$.screen.density') ->> '$' AS DOUBLE) AS context_screen_density,
  TRY_CAST(JSON_VALUE(context, '$.screen.height') ->> '$' AS DOUBLE) AS context_screen_height,
  TRY_CAST(JSON_VALUE(context, '$.screen.width') ->> '$' AS DOUBLE) AS context_screen_width,
  JSON_VALUE(context, '$.sessionId') ->> '$' AS context_session_id,
  JSON_VALUE(context, '$.timezone') ->> '$' AS context_timezone,
  JSON_VALUE(context, '$.userAgent') ->> '$' AS context_user_agent,
  CASE
    WHEN CASE JSON_TYPE((
        context -> '$.userAgentData.brands'
      ))
      WHEN 'VARCHAR'
      THEN 'string'
      WHEN 'BOOLEAN'
      THEN 'boolean'
      WHEN 'NULL'
      THEN 'null'
      WHEN 'ARRAY'
      THEN 'array'
      WHEN 'OBJECT'
      THEN 'object'
      WHEN 'BIGINT'
      THEN 'number'
      WHEN 'UBIGINT'
      THEN 'number'
      WHEN 'HUGEINT'
      THEN 'number'
      WHEN 'DOUBLE'
      THEN 'number'
    END = 'array'
    THEN CAST(TO_JSON(context -> '$.userAgentData.brands') AS TEXT)
    ELSE NULL
  END AS context_user_agent_data_brands,
  CASE JSON_VALUE(context, '$.userAgentData.mobile') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_user_agent_data_mobile,
  JSON_VALUE(context, '$.userAgentData.platform') ->> '$' AS context_user_agent_data_platform,
  NULLIF(name, '') AS name,
  JSON_VALUE(properties, '$.path') ->> '$' AS path,
  JSON_VALUE(properties, '$.referrer') ->> '$' AS referrer,
  JSON_VALUE(properties, '$.search') ->> '$' AS search,
  JSON_VALUE(properties, '$.title') ->> '$' AS title,
  JSON_VALUE(properties, '$.url') ->> '$' AS url,
  connection,
  properties,
  context,
  external_id,
  account_id
FROM events_resolved
WHERE
  type = 'Page'
