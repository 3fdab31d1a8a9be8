// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import t from 'tap'
import { SECRET } from '../../helpers.ts'
import { checkFaults, type InvalidConfig, rootConfig } from './helpers.ts'

const users = '"users": { "list": [ { "name": "ada", "secret": "the password of ada" } ] }'

const SHORT = 'rather-short'

t.test('reports invalid authentication options without secrets', async (t) => {
  const cases: InvalidConfig[] = [
    {
      name: 'auth without a strategy',
      config: rootConfig('"auth": true'),
      faults: [
        /^gateway\.json:1:3 auth: expected an authentication strategy, got none; define one, such as "session" with "users", "jwt" or "apiKeys"$/
      ]
    },
    {
      name: 'auth with only a requirement',
      config: '{ "routes": [ { "path": "/a", "respond": {}, "auth": { "require": { "roles": ["x"] } } } ] }',
      faults: [/^gateway\.json:1:46 routes\[0\]\.auth: expected an authentication strategy, got none/]
    },
    {
      name: 'auth without a strategy and without routes',
      config: '{ "auth": true, "routes": [] }',
      faults: [/^gateway\.json:1:3 auth: expected an authentication strategy, got none/]
    },
    {
      name: 'a session without users',
      config: rootConfig('"auth": { "session": true }'),
      env: { SESSION_SECRET: SECRET },
      faults: [
        /^gateway\.json:1:13 auth\.session: expected "users" or "oidc" beside "session", got neither; a session needs users who log in$/
      ]
    },
    {
      name: 'a session without a secret',
      config: rootConfig(`"auth": { "session": true, ${users} }`),
      faults: [
        /^gateway\.json:1:13 auth\.session: expected a session secret of 32 characters or more, got none; set SESSION_SECRET/
      ],
      hidden: 'the password of ada'
    },
    {
      name: 'a short secret',
      config: rootConfig(`"session": { "secrets": ["${SHORT}"] }, "auth": { "session": true, ${users} }`),
      faults: [
        /^gateway\.json:1:28 session\.secrets\[0\]: expected a session secret of 32 characters or more, got 12;/
      ],
      hidden: SHORT
    },
    {
      name: 'a short secret in the environment',
      config: rootConfig(`"auth": { "session": true, ${users} }`),
      env: { SESSION_SECRET: SHORT },
      faults: [
        /^gateway\.json SESSION_SECRET in the environment: expected a session secret of 32 characters or more, got 12;/
      ],
      hidden: SHORT
    },
    {
      name: 'a secret inside of a list in the place of an object',
      config: rootConfig('"auth": { "users": [{ "name": "ada", "secret": "hunter2-hunter2" }] }'),
      faults: [/^gateway\.json:1:\d+ auth\.users: expected an object .*"secret":"\*\*\*"/],
      hidden: 'hunter2'
    },
    {
      name: 'a variable inside of a list in the place of an object',
      config: rootConfig('"upstreams": ["a", { "url": "${INNER}" }]'),
      env: { INNER: 'hunter2-hunter2' },
      faults: [/^gateway\.json:1:\d+ upstreams: expected an object .*\$\{INNER\}/],
      hidden: 'hunter2'
    },
    {
      name: 'a secret instead of a list',
      config: rootConfig(`"session": { "secrets": "${SHORT}" }`),
      faults: [/^gateway\.json:1:16 session\.secrets: expected a list.*, got a value that is not shown/],
      hidden: SHORT
    },
    {
      name: 'a secret from a variable in the wrong place',
      config: rootConfig('"rateLimit": { "max": "${LEAK}" }'),
      env: { LEAK: SHORT },
      faults: [/^gateway\.json:1:18 rateLimit\.max: expected a whole number.*, got "\$\{LEAK\}"/],
      hidden: SHORT
    },
    {
      name: 'a secret beside a missing comma',
      config: `{ "session": { "secrets": ["a" "${SHORT}"] }, "routes": [] }`,
      faults: [/^gateway\.json:1:32 This is not JSON: comma expected/],
      hidden: SHORT
    },
    {
      name: 'a password that is not hashed',
      config: rootConfig(
        `"auth": { "session": true, "users": { "list": [ { "name": "ada", "password": "${SHORT}" } ] } }`
      ),
      env: { SESSION_SECRET: SECRET },
      faults: [
        /auth\.users\.list\[0\]: expected an argon2id, scrypt or bcrypt hash as the password of "ada"; "sallyport hash" makes one$/
      ],
      hidden: SHORT
    },
    {
      name: 'a key that is not hashed',
      config: rootConfig(`"auth": { "apiKeys": { "list": [ { "id": "ada", "key": "${SHORT}" } ] } }`),
      faults: [
        /auth\.apiKeys\.list\[0\]: expected "sha256:" and 64 hex digits as the key of "ada"; "sallyport hash --key" prints them$/
      ],
      hidden: SHORT
    },
    {
      name: 'an undefined strategy',
      config: rootConfig(
        `"auth": { "apiKeys": { "list": [ { "id": "ada", "secret": "${SHORT}" } ] }, "by": ["session"] }`
      ),
      faults: [/auth\.by\[0\]: expected a strategy that is defined here \(apiKeys\), got "session"$/],
      hidden: SHORT
    }
  ]
  for (const each of cases) checkFaults(t, { ...each, name: `${each.name} is refused` })
})
