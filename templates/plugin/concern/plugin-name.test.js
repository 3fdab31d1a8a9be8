import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance, gateway, runChecks } from 'sallyport/testing'
import * as pluginName from 'sallyport-plugin-name'

const config = {
  extensions: [{ module: 'sallyport-plugin-name' }],
  pluginName: {},
  routes: [{ path: '/', respond: { body: 'fine' } }]
}
const refused = { path: '/', headers: { 'x-plugin-name': 'no' } }

test('refuses a value of the header', async (t) => {
  const app = await gateway(t, config)
  assert.equal((await app.fetch('/')).status, 200)
  const response = await app.fetch('/', { headers: refused.headers })
  assert.equal(response.status, 403)
  assert.equal((await response.json()).code, 'SP_ERR_PLUGIN_NAME_REFUSED')
})

test('lets routes have values of their own', async (t) => {
  const own = { path: '/own', pluginName: { values: ['other'] }, respond: { body: 'fine' } }
  const app = await gateway(t, { ...config, routes: [...config.routes, own] })
  assert.equal((await app.fetch('/own', { headers: refused.headers })).status, 200)
  assert.equal((await app.fetch('/own', { headers: { 'x-plugin-name': 'other' } })).status, 403)
})

test('keeps the promises of a concern', (t) => runChecks(t, conformance(pluginName, { config, refused })))
