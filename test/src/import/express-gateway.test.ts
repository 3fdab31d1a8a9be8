import { join } from 'node:path'
import { SignJWT } from 'jose'
import t from 'tap'
import { catalog } from '../../../src/gateway/catalog.ts'
import { importFile } from '../../../src/import/index.ts'
import { expectAll, translated } from './translated.ts'

const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`

t.test('pipelines of Express Gateway answer as in Express Gateway', async (t) => {
  const made = await translated(t, 'express-gateway', 'express-gateway.yml', {
    'keys.json': JSON.stringify([
      { id: 'ada', secret: 'id-of-ada:secret', scopes: ['orders'] },
      { id: 'bob', secret: 'id-of-bob:secret' }
    ]),
    'users.json': JSON.stringify([{ name: 'ada', secret: 'lovelace' }])
  })
  const ada = { 'x-api-key': 'id-of-ada:secret' }
  const authorization = basic('ada:lovelace')
  const token = await new SignJWT({ sub: 'ada' })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer('me')
    .setExpirationTime('5m')
    .sign(Buffer.from('x'.repeat(64)))
  await expectAll(t, made, [
    { url: '/orders/1', status: 401 },
    { url: '/ORDERS/1', status: 401 },
    { url: '/orders/1', headers: { 'x-api-key': 'id-of-bob:secret' }, status: 403 },
    {
      url: '/orders/1?x=y',
      headers: { ...ada, origin: 'https://app.example.com' },
      status: 200,
      path: '/orders/1?x=y',
      has: { 'access-control-allow-origin': 'https://app.example.com' }
    },
    { url: '/orders', headers: ada, status: 200 },
    { url: '/orders', headers: ada, status: 429 },
    { url: '/orders/1', method: 'DELETE', headers: ada, status: 405 },
    {
      url: '/api/users/7',
      headers: { 'eg-ip': 'forged', 'x-debug': '1' },
      status: 200,
      path: '/v1/7',
      gets: {
        'eg-source': 'gateway',
        'eg-ip': undefined,
        'eg-token': 'example',
        'x-a': 'b',
        'x-debug': undefined
      }
    },
    {
      url: '/public/7',
      headers: { host: 'shop.example.com' },
      status: 200,
      path: '/v1/public/7',
      gets: { host: 'shop.example.com' }
    },
    { url: '/tokens', status: 401 },
    { url: '/tokens', headers: { authorization: `Bearer ${token}` }, status: 200 },
    { url: '/members', headers: { authorization: `Bearer ${token}` }, status: 403 },
    { url: '/oauth', status: 403 },
    { url: '/expression', status: 403 },
    { url: '/conditional', headers: { authorization }, status: 403 },
    { url: '/gone', status: 410, body: 'Gone {away}' },
    { url: '/old', status: 301, location: 'https://example.com/new' },
    { url: '/admin/x', status: 401 },
    { url: '/admin/x', headers: { authorization }, status: 200 },
    { url: '/admin/public', status: 401 },
    { url: '/admin/public', headers: { authorization }, status: 200 },
    { url: '/files', status: 200, path: '/files' },
    { url: '/filesystem/x', status: 200, path: '/filesystem/x' },
    { url: '/items/7', headers: { host: 'items.example.com' }, status: 200, path: '/v1/7' },
    { url: '/items/7', status: 404 },
    { url: '/unserved', status: 404 },
    { url: '/rax', headers: { host: 'regex.example.com' }, status: 403 },
    { url: '/other', status: 404 }
  ])
  t.notMatch(made.text, /very-secret|not-for-anybody/, 'no secret is copied')
})

t.test('a source without pipelines is an error', async (t) => {
  const file = join(t.testdir({ 'gateway.config.yml': 'http: { port: 1 }' }), 'gateway.config.yml')
  await t.rejects(importFile('express-gateway', file, catalog), {
    name: 'ImportError',
    message: /gateway\.config\.yml: expected a gateway\.config\.yml with "pipelines", got none$/
  })
})
