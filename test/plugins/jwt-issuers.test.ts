import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { exportJWK, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { Keep, loadConfig } from '../../src/index.ts'
import { gateway, readableLog, upstream } from '../helpers.ts'
import { sha256 } from './callers.ts'

/** An issuer whose only key has the id that all issuers use. */
interface Issuer {
  readonly key: KeyObject
  readonly jwks: string
  /** The number of requests for its keys. */
  asked: number
}

async function issuer(t: Test): Promise<Issuer> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keys = [{ ...(await exportJWK(publicKey)), kid: 'key', alg: 'ES256', use: 'sig' }]
  const made: Issuer = {
    key: privateKey,
    asked: 0,
    jwks: `${await upstream(t, (_request, response) => {
      made.asked++
      response.end(JSON.stringify({ keys }))
    })}/jwks.json`
  }
  return made
}

const secret = 'a secret shared with the issuer, 32 characters and more'
const A = 'https://a.test'
const B = 'https://b.test'

/** Signs a token with a key, whatever it says. */
const sign = (
  key: KeyObject | Uint8Array,
  { alg = 'ES256', ...claims }: Record<string, unknown> & { alg?: string }
): Promise<string> =>
  new SignJWT({ sub: 'ada', aud: 'api', ...claims })
    .setProtectedHeader({ alg, kid: 'key' })
    .setExpirationTime('1h')
    .sign(key)

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const who = { path: '/who', respond: { body: '{caller.id} {caller.claims.iss}' } }

t.test('the "iss" of a token selects the issuer, and no key of another one is tried', async (t) => {
  const [a, b] = [await issuer(t), await issuer(t)]
  const log = readableLog('debug')
  const app = await gateway(
    t,
    {
      auth: {
        jwt: [
          { issuer: A, audience: 'api', jwks: a.jwks },
          { issuer: B, audience: 'shop', jwks: b.jwks, from: ['header:x-token'] },
          { issuer: 'https://c.test', audience: 'api', secret, algorithms: ['HS256'] }
        ]
      },
      rateLimit: { max: 100, by: 'caller' },
      routes: [who]
    },
    { log: log.log }
  )
  const c = new TextEncoder().encode(secret)
  const cases: [string, Record<string, string>, string | undefined][] = [
    ['an unknown issuer', bearer(await sign(a.key, { iss: 'https://evil.test' })), undefined],
    ['no issuer', bearer(await sign(a.key, {})), undefined],
    ['an issuer that is no text', bearer(await sign(a.key, { iss: [A] as never })), undefined],
    ['an issuer that every object has', bearer(await sign(a.key, { iss: 'constructor' })), undefined],
    ['no token', bearer('a.b.c'), undefined],
    ['the first', bearer(await sign(a.key, { iss: A })), `ada ${A}`],
    ['one signed by the key of another, of the same id', bearer(await sign(b.key, { iss: A })), undefined],
    ['one for the audience of another', bearer(await sign(a.key, { iss: A, aud: 'shop' })), undefined],
    ['the second in its place', { 'x-token': await sign(b.key, { iss: B, aud: 'shop' }) }, `ada ${B}`],
    ['the second in the place of the first', bearer(await sign(b.key, { iss: B, aud: 'shop' })), undefined],
    ['the first in the place of the second', { 'x-token': await sign(a.key, { iss: A }) }, undefined],
    ['the third', bearer(await sign(c, { iss: 'https://c.test', alg: 'HS256' })), 'ada https://c.test'],
    ['the algorithm of the third for the first', bearer(await sign(c, { iss: A, alg: 'HS256' })), undefined],
    [
      'the algorithm of the first for the third',
      bearer(await sign(a.key, { iss: 'https://c.test' })),
      undefined
    ],
    [
      'two tokens',
      { ...bearer(await sign(a.key, { iss: A })), 'x-token': await sign(b.key, { iss: B, aud: 'shop' }) },
      undefined
    ]
  ]
  for (const [name, headers, expected] of cases) {
    const answer = await app.inject({ url: '/who', headers })
    t.equal(answer.statusCode, expected === undefined ? 401 : 200, name)
    if (expected === undefined)
      t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"', name)
    else t.equal(answer.body, expected, name)
    if (name === 'no token')
      t.same([a.asked, b.asked], [0, 0], 'no issuer is asked for the keys of a stranger')
  }
  t.ok(log.lines.some(({ reason, issuer }) => reason === 'issuer' && issuer === 'https://evil.test'))
})

t.test('equal subjects of two issuers are two callers', async (t) => {
  const [a, b] = [await issuer(t), await issuer(t)]
  const config = {
    auth: {
      jwt: [
        { issuer: A, audience: 'api', jwks: a.jwks },
        { issuer: B, audience: 'api', jwks: b.jwks }
      ]
    },
    rateLimit: { max: 1, by: 'caller' },
    routes: [who]
  }
  const keep = new Keep()
  const app = await gateway(t, config, { keep })
  const ofA = bearer(await sign(a.key, { iss: A }))
  const ofB = bearer(await sign(b.key, { iss: B }))
  const statuses: number[] = []
  for (const headers of [ofA, ofB, ofA, ofB])
    statuses.push((await app.inject({ url: '/who', headers })).statusCode)
  t.same(statuses, [200, 200, 429, 429])
  t.test('a reload that removes an issuer refuses its tokens', async (t) => {
    const { auth, ...rest } = config
    const next = await gateway(t, { ...rest, auth: { jwt: auth.jwt.slice(0, 1) } }, { keep })
    t.equal((await next.inject({ url: '/who', headers: ofB })).statusCode, 401)
    t.equal((await next.inject({ url: '/who', headers: ofA })).statusCode, 429, 'counts of the others stay')
  })
})

t.test('issuers beside API keys in one header', async (t) => {
  const a = await issuer(t)
  const app = await gateway(t, {
    auth: {
      jwt: [
        { issuer: A, audience: 'api', jwks: a.jwks },
        { issuer: B, audience: 'api', secret, algorithms: ['HS256'] }
      ],
      apiKeys: { from: ['header:authorization'], list: [{ id: 'shop', key: sha256('key of shop') }] }
    },
    routes: [who]
  })
  t.equal((await app.inject({ url: '/who', headers: bearer('key of shop') })).body, 'shop ')
  t.equal(
    (await app.inject({ url: '/who', headers: bearer(await sign(a.key, { iss: A })) })).body,
    `ada ${A}`
  )
})

t.test('errors of lists of issuers', async (t) => {
  const one = { issuer: A, audience: 'api', secret, algorithms: ['HS256'] }
  const { issuer: _issuer, ...unnamed } = one
  const cases: [string, unknown, RegExp][] = [
    [
      'an issuer without a name',
      [one, unnamed],
      /auth\.jwt\[1\]: expected an "issuer" in a list of issuers, got none/
    ],
    [
      'the same twice',
      [one, { ...one, audience: 'shop' }],
      /auth\.jwt\[1\]\.issuer: expected different issuers, got "https:\/\/a\.test" twice/
    ],
    [
      'an error inside',
      [one, { ...one, issuer: B, algorithms: ['RS256'] }],
      /auth\.jwt\[1\]\.algorithms\[0\]: expected HS256/
    ],
    ['an unknown option', [{ ...one, isuer: B }], /isuer/],
    ['no issuer', [], /auth\.jwt/],
    ['a text', A, /auth\.jwt: expected the options of an issuer, or a list of them/]
  ]
  for (const [name, jwt, message] of cases)
    await t.rejects(loadConfig({ auth: { jwt }, routes: [who] } as never, {}), { message }, name)
})
