import { fileURLToPath } from 'node:url'
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify'
import t from 'tap'
import { catalog } from '../../src/gateway/catalog.ts'
import {
  type Concern,
  createError,
  fp,
  gate,
  overrideOf,
  perRoute,
  type Static,
  Type
} from '../../src/kit/index.ts'
import { type ConformanceSetup, conformance, runChecks } from '../../src/testing/index.ts'
import { fine, SETUPS } from '../modules.ts'

// Many gateways, one after the other.
t.setTimeout(600_000)

for (const module of [...catalog.concerns, ...catalog.targets])
  t.test(module.key, async (t) => {
    const setup = SETUPS[module.key]
    if (setup === undefined) return t.fail(`add a config for "${module.key}" to test/modules.ts`)
    await runChecks(t, conformance(module, setup))
  })

const options = Type.Object(
  { ...gate, word: Type.String({ default: 'no', description: 'The value of x-word that is refused.' }) },
  { additionalProperties: false, description: 'Refuses a word.' }
)
type WordOptions = Static<typeof options>
const WordRefused = createError('SP_ERR_WORD_REFUSED', 'This word is refused', 403)

/** Makes a gate that refuses a word, with something of it replaced. */
const wordGate = (change: Partial<Concern> = {}): Concern => ({
  key: 'word',
  options,
  override: overrideOf(options),
  default: fp<WordOptions>(
    async function word(app, root) {
      perRoute(app, 'word', root, ({ word }) => ({
        onRequest(request, _reply, done) {
          done(request.headers['x-word'] === word ? new WordRefused() : undefined)
        }
      }))
    },
    { name: 'word', fastify: '5.x' }
  ),
  ...change
})

/** Makes a plugin with the name of the gate. */
const plugin = (run: (app: FastifyInstance, root: WordOptions) => void): Concern['default'] =>
  fp<WordOptions>(async (app, root) => run(app, root), { name: 'word', fastify: '5.x' })

const refused = { path: '/', headers: { 'x-word': 'no' } }
const setup: ConformanceSetup = { config: { word: {}, routes: [fine] }, refused }

t.test('a sound gate of somebody else passes every check', (t) =>
  runChecks(t, conformance(wordGate(), setup))
)

t.test('a module that breaks a promise fails the check of it, which says what to do', async (t) => {
  const cases: [
    what: string,
    change: Partial<Concern>,
    check: RegExp,
    message: RegExp,
    setup?: ConformanceSetup
  ][] = [
    ['a key with a hyphen', { key: 'my-word' }, /camelCase/, /got "my-word"/],
    [
      'a plugin of another name',
      { default: fp(async () => {}, { name: 'other' }) },
      /camelCase/,
      /name: key/
    ],
    [
      'an option without a description',
      {
        options: Type.Object({ ...gate, word: Type.String({ default: '' }) }, { additionalProperties: false })
      },
      /describes every option/,
      /word, word\.word/
    ],
    [
      'a schema that allows unknown options',
      { options: Type.Object({ ...options.properties }, { description: 'Refuses a word.' }) },
      /describes every option/,
      /additionalProperties: false/
    ],
    [
      'a default that is not valid',
      {
        options: Type.Object(
          { size: Type.Integer({ default: 'large', description: 'The size.' }) },
          { additionalProperties: false, description: 'Has a size.' }
        )
      },
      /its own defaults/,
      /word\.size "large"/
    ],
    ['an override with defaults', { override: options }, /override/, /word\.global.*overrideOf/],
    [
      'an option that takes anything',
      {
        options: Type.Object(
          {
            ...gate,
            word: Type.Unknown({ description: 'A word.' }),
            list: Type.Unsafe({ description: 'A list.' })
          },
          { description: 'Refuses a word.' }
        )
      },
      /wrong option/,
      /noSuchOption/
    ],
    [
      'a hook without a name',
      {
        default: plugin(
          (app) => void app.addHook('onRequest', ((_a, _b, done) => done()) as onRequestHookHandler)
        )
      },
      /hooks have names/,
      /onRequest/
    ],
    [
      'an error without a code of ours',
      {
        default: plugin((app, root) =>
          perRoute(app, 'word', root, () => ({
            async onRequest({ headers }: FastifyRequest) {
              if (headers['x-word'] === 'no') throw Object.assign(new Error('no'), { statusCode: 403 })
            }
          }))
        )
      },
      /a refusal has a code/,
      /got status 403 with SP_ERR_REQUEST_REFUSED; throw an error with a code such as SP_ERR_WORD_REFUSED/
    ],
    [
      'a response that is sent by the gate',
      {
        default: plugin((app, root) =>
          perRoute(app, 'word', root, () => ({
            async onRequest({ headers }: FastifyRequest, reply: FastifyReply) {
              if (headers['x-word'] === 'no') await reply.code(403).send('no')
            }
          }))
        )
      },
      /report mode/,
      /record the refusal.*throw the error/
    ],
    [
      'a response that is sent in place of a refusal',
      {
        default: plugin((app, root) =>
          perRoute(app, 'word', root, () => ({
            async onRequest({ headers }: FastifyRequest, reply: FastifyReply) {
              if (headers['x-word'] === 'no') await reply.code(403).send('no')
            }
          }))
        )
      },
      /a refusal has a code/,
      /got status 403; throw an error .*don't send a response/
    ],
    [
      'a hook that throws',
      {
        default: plugin((app, root) =>
          perRoute(app, 'word', root, () => ({
            async onRequest() {
              throw new TypeError('oops')
            }
          }))
        )
      },
      /a refusal has a code/,
      /"passed" at first, got status 500 with SP_ERR_INTERNAL, .*TypeError: oops at .*conformance\.test\.ts:\d+:\d+; mend it/
    ],
    [
      'a concern that refuses without the options of a gate',
      {
        options: Type.Object({}, { additionalProperties: false, description: 'Refuses a word.' })
      },
      /has the options of a gate/,
      /"global" and "mode"; write \.\.\.gate/
    ],
    [
      'a listener of the process that is not removed',
      {
        default: plugin(() => {
          const listener = (): void => {}
          process.on('SIGUSR2', listener)
          t.teardown(() => process.off('SIGUSR2', listener))
        })
      },
      /leave nothing behind/,
      /process\.on\("SIGUSR2"\) \(4 more\)/,
      { config: setup.config }
    ],
    [
      'hooks that are not put on by perRoute',
      {
        default: plugin((app) => {
          app.addHook('onRequest', async function refuseWord({ headers }) {
            if (headers['x-word'] === 'no') throw new WordRefused()
          })
        })
      },
      /^(report mode|the trace|false on a route)/,
      /perRoute/
    ],
    [
      'a count that a reload forgets',
      {
        default: plugin((app, root) => {
          let seen = 0
          perRoute(app, 'word', root, () => ({
            async onRequest({ headers }: FastifyRequest) {
              if (headers['x-word'] === 'no' && seen++ > 0) throw new WordRefused()
            }
          }))
        })
      },
      /keeps its state/,
      /app\.resources/,
      { ...setup, refused: [refused, refused] }
    ],
    [
      'an interval that is not stopped',
      {
        default: plugin((app) => {
          const timer = setInterval(() => {}, 100_000)
          timer.unref()
          t.teardown(() => clearInterval(timer))
          app.log.debug('started')
        })
      },
      /leave nothing behind/,
      /Interval \(4 more\).*onClose/,
      { config: setup.config }
    ],
    [
      'messages that cannot be copied',
      {
        default: plugin((app) => {
          app.resources.peers?.join('words', { receive: () => {}, snapshot: () => [() => {}] })
        })
      },
      /beside other workers/,
      /plain data/,
      { config: setup.config }
    ],
    [
      'an option that is compiled for each request',
      {
        default: plugin((app, root) =>
          perRoute(app, 'word', root, ({ word }) => ({
            async onRequest({ url }: FastifyRequest) {
              new RegExp(word).test(url)
            }
          }))
        )
      },
      /unusual options/,
      /status 500.*"word": "\("/
    ],
    [
      'a gate without a request that it refuses',
      {},
      /report mode/,
      /name one in "refused"/,
      { config: setup.config }
    ],
    [
      'a config that does not set it',
      {},
      /hooks have names/,
      /expected a config with "word"/,
      { config: { routes: [] } }
    ]
  ]
  for (const [what, change, check, message, own = setup] of cases)
    t.test(what, async (t) => {
      const checks = conformance(wordGate(change), own).filter(({ name }) => check.test(name))
      t.not(checks.length, 0)
      for (const { name, run } of checks) await t.rejects(run(t), { message }, name)
    })
})

t.test('the command line starts the workers of a module that the config loads', async (t) => {
  const module = fileURLToPath(new URL('../../examples/extensions/tenant.ts', import.meta.url))
  const tenant: object = await import(module)
  const config = {
    extensions: [{ module }],
    tenant: { known: ['acme'] },
    routes: [fine]
  }
  const passed = { path: '/', headers: { 'x-tenant': 'acme' } }
  await runChecks(t, conformance(tenant as Concern, { config, passed, refused: '/' }))
})
