-- of the GoogleSQL whose SHA-256 is 61a382d8f520f29f9ca7f09be7cb671079ef27743571071c7384a594dffaea46
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
  COALESCE(
    JSON_VALUE(context, '$.app.build') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.app.build') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.app.build') AS TEXT)
      ELSE NULL
    END
  ) AS context_app_build,
  COALESCE(
    JSON_VALUE(context, '$.app.name') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.app.name') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.app.name') AS TEXT)
      ELSE NULL
    END
  ) AS context_app_name,
  COALESCE(
    JSON_VALUE(context, '$.app.namespace') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.app.namespace') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.app.namespace') AS TEXT)
      ELSE NULL
    END
  ) AS context_app_namespace,
  COALESCE(
    JSON_VALUE(context, '$.app.version') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.app.version') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.app.version') AS TEXT)
      ELSE NULL
    END
  ) AS context_app_version,
  COALESCE(
    JSON_VALUE(context, '$.campaign.content') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.campaign.content') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.campaign.content') AS TEXT)
      ELSE NULL
    END
  ) AS context_campaign_content,
  COALESCE(
    JSON_VALUE(context, '$.campaign.id') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.campaign.id') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.campaign.id') AS TEXT)
      ELSE NULL
    END
  ) AS context_campaign_id,
  COALESCE(
    JSON_VALUE(context, '$.campaign.medium') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.campaign.medium') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.campaign.medium') AS TEXT)
      ELSE NULL
    END
  ) AS context_campaign_medium,
  COALESCE(
    JSON_VALUE(context, '$.campaign.name') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.campaign.name') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.campaign.name') AS TEXT)
      ELSE NULL
    END
  ) AS context_campaign_name,
  COALESCE(
    JSON_VALUE(context, '$.campaign.source') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.campaign.source') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.campaign.source') AS TEXT)
      ELSE NULL
    END
  ) AS context_campaign_source,
  COALESCE(
    JSON_VALUE(context, '$.campaign.term') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.campaign.term') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.campaign.term') AS TEXT)
      ELSE NULL
    END
  ) AS context_campaign_term,
  CASE JSON_VALUE(context, '$.device.adTrackingEnabled') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_device_ad_tracking_enabled,
  COALESCE(
    JSON_VALUE(context, '$.device.advertisingId') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.advertisingId') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.advertisingId') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_advertising_id,
  COALESCE(
    JSON_VALUE(context, '$.device.id') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.id') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.id') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_id,
  COALESCE(
    JSON_VALUE(context, '$.device.manufacturer') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.manufacturer') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.manufacturer') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_manufacturer,
  COALESCE(
    JSON_VALUE(context, '$.device.model') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.model') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.model') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_model,
  COALESCE(
    JSON_VALUE(context, '$.device.name') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.name') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.name') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_name,
  COALESCE(
    JSON_VALUE(context, '$.device.token') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.token') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.token') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_token,
  COALESCE(
    JSON_VALUE(context, '$.device.type') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.type') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.type') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_type,
  COALESCE(
    JSON_VALUE(context, '$.device.version') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.device.version') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.device.version') AS TEXT)
      ELSE NULL
    END
  ) AS context_device_version,
  COALESCE(
    JSON_VALUE(context, '$.groupId') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.groupId') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.groupId') AS TEXT)
      ELSE NULL
    END
  ) AS context_group_id,
  COALESCE(
    JSON_VALUE(context, '$.ip') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.ip') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.ip') AS TEXT)
      ELSE NULL
    END
  ) AS context_ip,
  COALESCE(
    JSON_VALUE(context, '$.library.name') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.library.name') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.library.name') AS TEXT)
      ELSE NULL
    END
  ) AS context_library_name,
  COALESCE(
    JSON_VALUE(context, '$.library.version') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.library.version') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.library.version') AS TEXT)
      ELSE NULL
    END
  ) AS context_library_version,
  COALESCE(
    JSON_VALUE(context, '$.locale') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.locale') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.locale') AS TEXT)
      ELSE NULL
    END
  ) AS context_locale,
  COALESCE(
    JSON_VALUE(context, '$.location.city') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.location.city') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.location.city') AS TEXT)
      ELSE NULL
    END
  ) AS context_location_city,
  COALESCE(
    JSON_VALUE(context, '$.location.country') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.location.country') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.location.country') AS TEXT)
      ELSE NULL
    END
  ) AS context_location_country,
  TRY_CAST(JSON_VALUE(context, '$.location.latitude') ->> '$' AS DOUBLE) AS context_location_latitude,
  TRY_CAST(JSON_VALUE(context, '$.location.longitude') ->> '$' AS DOUBLE) AS context_location_longitude,
  COALESCE(
    JSON_VALUE(context, '$.location.region') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.location.region') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.location.region') AS TEXT)
      ELSE NULL
    END
  ) AS context_location_region,
  TRY_CAST(JSON_VALUE(context, '$.location.speed') ->> '$' AS DOUBLE) AS context_location_speed,
  CASE JSON_VALUE(context, '$.network.bluetooth') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_network_bluetooth,
  COALESCE(
    JSON_VALUE(context, '$.network.carrier') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.network.carrier') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.network.carrier') AS TEXT)
      ELSE NULL
    END
  ) AS context_network_carrier,
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
  COALESCE(
    JSON_VALUE(context, '$.os.name') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.os.name') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.os.name') AS TEXT)
      ELSE NULL
    END
  ) AS context_os_name,
  COALESCE(
    JSON_VALUE(context, '$.os.version') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.os.version') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.os.version') AS TEXT)
      ELSE NULL
    END
  ) AS context_os_version,
  COALESCE(
    JSON_VALUE(context, '$.page.hash') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.page.hash') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.page.hash') AS TEXT)
      ELSE NULL
    END
  ) AS context_page_hash,
  COALESCE(
    JSON_VALUE(context, '$.page.path') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.page.path') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.page.path') AS TEXT)
      ELSE NULL
    END
  ) AS context_page_path,
  COALESCE(
    JSON_VALUE(context, '$.page.referrer') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.page.referrer') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.page.referrer') AS TEXT)
      ELSE NULL
    END
  ) AS context_page_referrer,
  COALESCE(
    JSON_VALUE(context, '$.page.search') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.page.search') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.page.search') AS TEXT)
      ELSE NULL
    END
  ) AS context_page_search,
  COALESCE(
    JSON_VALUE(context, '$.page.title') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.page.title') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.page.title') AS TEXT)
      ELSE NULL
    END
  ) AS context_page_title,
  COALESCE(
    JSON_VALUE(context, '$.page.url') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.page.url') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.page.url') AS TEXT)
      ELSE NULL
    END
  ) AS context_page_url,
  COALESCE(
    JSON_VALUE(context, '$.protocols.event_version') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.protocols.event_version') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.protocols.event_version') AS TEXT)
      ELSE NULL
    END
  ) AS context_protocols_event_version,
  COALESCE(
    JSON_VALUE(context, '$.protocols.sourceId') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.protocols.sourceId') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.protocols.sourceId') AS TEXT)
      ELSE NULL
    END
  ) AS context_protocols_source_id,
  COALESCE(
    JSON_VALUE(context, '$.protocols.violations') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.protocols.violations') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.protocols.violations') AS TEXT)
      ELSE NULL
    END
  ) AS context_protocols_violations,
  COALESCE(
    JSON_VALUE(context, '$.referrer.id') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.referrer.id') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.referrer.id') AS TEXT)
      ELSE NULL
    END
  ) AS context_referrer_id,
  COALESCE(
    JSON_VALUE(context, '$.referrer.link') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.referrer.link') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.referrer.link') AS TEXT)
      ELSE NULL
    END
  ) AS context_referrer_link,
  COALESCE(
    JSON_VALUE(context, '$.referrer.name') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.referrer.name') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.referrer.name') AS TEXT)
      ELSE NULL
    END
  ) AS context_referrer_name,
  COALESCE(
    JSON_VALUE(context, '$.referrer.type') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.referrer.type') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.referrer.type') AS TEXT)
      ELSE NULL
    END
  ) AS context_referrer_type,
  COALESCE(
    JSON_VALUE(context, '$.referrer.url') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.referrer.url') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.referrer.url') AS TEXT)
      ELSE NULL
    END
  ) AS context_referrer_url,
  TRY_CAST(JSON_VALUE(context, '$.screen.density') ->> '$' AS DOUBLE) AS context_screen_density,
  TRY_CAST(JSON_VALUE(context, '$.screen.height') ->> '$' AS DOUBLE) AS context_screen_height,
  TRY_CAST(JSON_VALUE(context, '$.screen.width') ->> '$' AS DOUBLE) AS context_screen_width,
  COALESCE(
    JSON_VALUE(context, '$.sessionId') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.sessionId') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.sessionId') AS TEXT)
      ELSE NULL
    END
  ) AS context_session_id,
  COALESCE(
    JSON_VALUE(context, '$.timezone') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.timezone') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.timezone') AS TEXT)
      ELSE NULL
    END
  ) AS context_timezone,
  COALESCE(
    JSON_VALUE(context, '$.userAgent') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.userAgent') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.userAgent') AS TEXT)
      ELSE NULL
    END
  ) AS context_user_agent,
  COALESCE(
    JSON_VALUE(context, '$.userAgentData.brands') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.userAgentData.brands') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.userAgentData.brands') AS TEXT)
      ELSE NULL
    END
  ) AS context_user_agent_data_brands,
  CASE JSON_VALUE(context, '$.userAgentData.mobile') ->> '$'
    WHEN 'true'
    THEN TRUE
    WHEN 'false'
    THEN FALSE
  END AS context_user_agent_data_mobile,
  COALESCE(
    JSON_VALUE(context, '$.userAgentData.platform') ->> '$',
    CASE
      WHEN JSON_TYPE(context -> '$.userAgentData.platform') = 'ARRAY'
      THEN CAST(TO_JSON(context -> '$.userAgentData.platform') AS TEXT)
      ELSE NULL
    END
  ) AS context_user_agent_data_platform,
  NULLIF(name, '') AS name,
  COALESCE(
    JSON_VALUE(properties, '$.path') ->> '$',
    CASE
      WHEN JSON_TYPE(properties -> '$.path') = 'ARRAY'
      THEN CAST(TO_JSON(properties -> '$.path') AS TEXT)
      ELSE NULL
    END
  ) AS path,
  COALESCE(
    JSON_VALUE(properties, '$.referrer') ->> '$',
    CASE
      WHEN JSON_TYPE(properties -> '$.referrer') = 'ARRAY'
      THEN CAST(TO_JSON(properties -> '$.referrer') AS TEXT)
      ELSE NULL
    END
  ) AS referrer,
  COALESCE(
    JSON_VALUE(properties, '$.search') ->> '$',
    CASE
      WHEN JSON_TYPE(properties -> '$.search') = 'ARRAY'
      THEN CAST(TO_JSON(properties -> '$.search') AS TEXT)
      ELSE NULL
    END
  ) AS search,
  COALESCE(
    JSON_VALUE(properties, '$.title') ->> '$',
    CASE
      WHEN JSON_TYPE(properties -> '$.title') = 'ARRAY'
      THEN CAST(TO_JSON(properties -> '$.title') AS TEXT)
      ELSE NULL
    END
  ) AS title,
  COALESCE(
    JSON_VALUE(properties, '$.url') ->> '$',
    CASE
      WHEN JSON_TYPE(properties -> '$.url') = 'ARRAY'
      THEN CAST(TO_JSON(properties -> '$.url') AS TEXT)
      ELSE NULL
    END
  ) AS url,
  connection,
  properties,
  context,
  external_id,
  account_id
FROM events_resolved
WHERE
  type = 'Page'
