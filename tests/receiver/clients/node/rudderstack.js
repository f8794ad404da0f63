// The story of tests/receiver/clients/story.py, told by @rudderstack/rudder-sdk-node:
// rudderstack.js ENDPOINT WRITE_KEY
const RudderAnalytics = require('@rudderstack/rudder-sdk-node')

const [dataPlaneUrl, writeKey] = process.argv.slice(2)
const analytics = new RudderAnalytics(writeKey, { dataPlaneUrl, retryCount: 10 })

analytics.page({ anonymousId: 'visitor-1', name: 'Pricing', properties: { url: 'https://shop.test/pricing' } })
analytics.identify({
  userId: 'pgibbons',
  anonymousId: 'visitor-1',
  traits: { email: 'pgibbons@example.com', name: 'Peter Gibbons' },
})
analytics.track({ userId: 'pgibbons', event: 'Item Purchased', properties: { revenue: 14.99, note: 'Zoë 💶' } })
analytics.screen({ userId: 'pgibbons', name: 'Home', properties: { tabs: 3 } })
analytics.group({ userId: 'pgibbons', groupId: 'initech', traits: { name: 'Initech', employees: 420 } })
analytics.alias({ userId: '019mr8mf4r', previousId: 'pgibbons' })
analytics.flush()
