import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'dotenv'
import t from 'tap'
import { CODES } from '../../plugins/errors/codes.ts'
import { composeSchema, coreOptions, routeOptions } from '../../src/config/schema.ts'
import { catalog } from '../../src/gateway/catalog.ts'
import { readSettings, variables } from '../../src/process/settings.ts'
import { composeTestSchema } from '../../src/test-runner/published-schema.ts'

// The rules of this code base. The message of a failing test says what to do.

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const sources: readonly string[] = ['src', 'plugins', 'routes'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file}`)
)

/** Returns the files of this repository that a file imports. */
const importsOf = (file: string): string[] =>
  [...read(file).matchAll(/(?:^|\s)(?:from|import)\s*\(?\s*'(\.[^']+|#root\/[^']+)'/g)].map(([, to = '']) =>
    to.startsWith('#root/') ? to.slice(6) : relative(root, join(root, dirname(file), to))
  )

interface Layer {
  readonly what: string
  readonly files: RegExp
  readonly may: RegExp
}

/** Internal modules without dependencies on other folders; every layer may import them, file by file. */
const LIB = /^src\/lib\//

const LAYERS: readonly Layer[] = [
  { what: 'lib imports packages and itself', files: LIB, may: LIB },
  { what: 'the kit imports packages, lib and itself', files: /^src\/kit\//, may: /^src\/kit\// },
  {
    what: 'config imports the kit, and gets the catalog as a parameter',
    files: /^src\/config\//,
    may: /^src\/(config|kit)\//
  },
  {
    what: 'the index of plugins or routes imports what it lists',
    files: /^plugins\/index\.ts$/,
    may: /^(plugins\/|src\/kit\/(index|concern)\.ts$)/
  },
  {
    what: 'the index of plugins or routes imports what it lists',
    files: /^routes\/index\.ts$/,
    may: /^(routes\/|src\/kit\/(index|concern|builtin)\.ts$)/
  },
  {
    what: 'a concern imports the kit, lib and its own folder',
    files: /^plugins\//,
    may: /^(plugins\/|src\/kit\/(index|concern)\.ts$)/
  },
  {
    what: 'a target imports the kit, lib and its own folder',
    files: /^routes\//,
    may: /^(routes\/|src\/kit\/(index|concern|builtin)\.ts$)/
  },
  {
    what: 'only the catalog imports the lists of concerns and targets',
    files: /^src\/gateway\/catalog\.ts$/,
    may: /^(plugins|routes)\/index\.ts$|^src\/config\//
  },
  {
    what: 'the types of a config come from concerns and targets',
    files: /^src\/gateway\/define\.ts$/,
    may: /^(plugins|routes)\/|^src\/kit\/index\.ts$/
  },
  {
    what: 'the OpenAPI document of a gateway is made from its plan',
    files: /^src\/openapi\//,
    may: /^src\/(config|kit|openapi)\//
  },
  {
    what: 'import makes configs of other ones, and gets the catalog as a parameter',
    files: /^src\/import\//,
    may: /^src\/(config|import)\//
  },
  {
    what: 'a comparison of configs is made from their plans',
    files: /^src\/diff\//,
    may: /^src\/(config|diff|gateway|kit)\//
  },
  {
    what: 'gateway imports no concern and no target',
    files: /^src\/gateway\//,
    may: /^src\/(config|gateway|kit|openapi)\//
  },
  {
    what: 'server works with a FastifyInstance, not with the config',
    files: /^src\/server\//,
    may: /^src\/server\//
  },
  {
    what: 'a simulation is a gateway and a server whose connections are in memory',
    files: /^src\/simulation\//,
    may: /^src\/(config|gateway|kit|server|simulation)\//
  },
  {
    what: 'the tests of a config run in a simulation',
    files: /^src\/test-runner\//,
    may: /^src\/(config|gateway|kit|server|simulation|test-runner)\//
  },
  {
    what: 'an explanation is made from a plan and a traced gateway',
    files: /^src\/explain\//,
    may: /^src\/(config|explain|gateway|kit|simulation)\//
  },
  {
    what: 'the admin listener reports on layers below',
    files: /^src\/admin\//,
    may: /^src\/(admin|config|explain|gateway|kit|process|server|simulation)\//
  },
  {
    what: 'process imports the layers below',
    files: /^src\/process\//,
    may: /^src\/(admin|config|explain|gateway|kit|process|server)\//
  },
  {
    what: 'the API for embedding imports the layers below',
    files: /^src\/index\.ts$/,
    may: /^src\/(config|gateway|server)\//
  },
  {
    what: 'the API for tests imports the layers below, and no command',
    files: /^src\/testing\//,
    may: /^src\/(config|gateway|kit|process|server|testing)\//
  },
  {
    what: 'a command imports the layers below, and the password hash of auth',
    files: /^src\/(main\.ts$|commands\/)/,
    may: /^src\/(?!testing\/)|^plugins\/auth\/index\.ts$|^package\.json$/
  }
]

t.test('files import only from layers below', async (t) => {
  for (const file of sources) {
    const layer = LAYERS.find(({ files }) => files.test(file))
    t.ok(layer, `${file} belongs to no layer; add one here and in src/README.md`)
    for (const to of importsOf(file).filter((each) => layer?.files === LIB || !LIB.test(each)))
      t.match(
        to,
        layer?.may,
        `${file} imports ${to}: ${layer?.what}. Move what both need into src/kit, or use a Fastify decorator`
      )
  }

  t.test('other folders import only the index.ts of a concern or target', async (t) => {
    const FOLDER = /^((?:plugins|routes)\/[^/]+)\//
    for (const file of sources)
      for (const to of importsOf(file)) {
        const [, folder] = FOLDER.exec(to) ?? []
        if (folder === undefined || file.startsWith(`${folder}/`)) continue
        t.equal(
          to,
          `${folder}/index.ts`,
          `${file} imports ${to}; import ${folder}/index.ts, and export there what others may use`
        )
      }
  })

  t.test('no concern and no target imports another one', async (t) => {
    for (const folder of ['plugins', 'routes']) {
      const listed = importsOf(`${folder}/index.ts`).filter((file) => file.startsWith(`${folder}/`))
      t.ok(listed.length > 0)
      for (const file of sources.filter(
        (each) => each.startsWith(`${folder}/`) && each !== `${folder}/index.ts`
      ))
        for (const to of importsOf(file).filter((each) => listed.includes(each)))
          t.equal(
            dirname(to),
            dirname(file) === folder ? undefined : dirname(file),
            `${file} imports ${to}, which is another concern or target; use a Fastify decorator, or move what both need into src/kit`
          )
    }
  })
})

t.test('config, diff, gateway, kit and server refer to no concern by its key', async (t) => {
  // Names of Node's events, of Fastify's decorators, and of properties in types.
  const OTHER_NAMES = /\.on\('session'|decorate\('\w+'|\b(?:Pick|Omit)<[^;{]*?>|\b[A-Z]\w*\['\w+'\]|\/\/.*/g
  // Redaction goes by the path of an option in the config.
  const EXCEPT = new Set(['src/config/redact.ts'])
  const keys = [...catalog.concerns, ...catalog.targets].map(({ key }) => key)
  const named = new RegExp(`'(${keys.join('|')})'|\\boptions\\??\\.(${keys.join('|')})\\b`, 'g')
  for (const file of sources.filter(
    (each) => /^src\/(config|diff|gateway|kit|openapi|server)\//.test(each) && !EXCEPT.has(each)
  ))
    t.strictSame(
      [...read(file).replaceAll(OTHER_NAMES, '').matchAll(named)].map(([name]) => name),
      [],
      `${file} refers to a concern or a target by its key; add a facet to src/kit/concern.ts, and let the module export it`
    )
})

t.test('a concern has the same name as key, file and plugin', async (t) => {
  const fileOf = (key: string): string => key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  for (const [folder, modules] of [
    ['plugins', catalog.concerns],
    ['routes', catalog.targets]
  ] as const)
    for (const { key, default: plugin } of modules) {
      const file = `${folder}/${fileOf(key)}`
      t.ok(
        sources.includes(`${file}.ts`) || sources.includes(`${file}/index.ts`),
        `"${key}" must be in ${file}.ts or ${file}/index.ts`
      )
      const { name } = Reflect.get(plugin, Symbol.for('plugin-meta')) as { name: string }
      t.equal(name, key, `the plugin of "${key}" must have the name of its key: fp(…, { name: key })`)
    }
})

t.test(
  'the order of the concerns changes only on purpose, and plugins/index.ts has a reason for each place',
  async (t) => {
    const order = [
      'errors',
      'requestId',
      'accessLog',
      'metrics',
      'responseTime',
      'paths',
      'overload',
      'securityHeaders',
      'cors',
      'store',
      'tls',
      'upstreams',
      'session',
      'limits',
      'ipAccess',
      'rateLimit',
      'auth',
      'csrf',
      'validate',
      'headers',
      'query',
      'cache',
      'fault',
      'compress'
    ]
    // A new concern is not in this list, so that adding one changes only plugins/index.ts.
    t.strictSame(
      catalog.concerns.map(({ key }) => key).filter((key) => order.includes(key)),
      order,
      'the order has changed; if that is intended, change it here'
    )
    const list = /concerns[^=]*= \[\n([\s\S]*?)\n\]/.exec(read('plugins/index.ts'))?.[1]?.split('\n') ?? []
    t.equal(list.length, catalog.concerns.length)
    for (const line of list)
      t.match(
        line,
        /^ {2}\w+,? +\/\/ +\S.{4,}/,
        `"${line.trim()}" needs a comment with the reason for its place`
      )
  }
)

t.test('the documentation lists all names of a published API, and nothing else', async (t) => {
  const apis = [
    { index: 'src/kit/index.ts', page: 'docs/extensions.md', heading: 'What the kit exports' },
    { index: 'src/testing/index.ts', page: 'docs/testing.md', heading: 'What it exports' }
  ]
  for (const { index, page, heading } of apis) {
    const exported = [...read(index).matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, names = '']) =>
      names
        .split(',')
        .map((name) => name.replace(/^\s*(?:type )?(?:\w+ as )?/, '').trim())
        .filter(Boolean)
    )
    const table = read(page).split(`## ${heading}\n`)[1] ?? ''
    const documented = [...table.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, names = '']) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
    )
    t.strictSame(
      documented.toSorted(),
      exported.toSorted(),
      `list each export of ${index} in the table at the end of ${page}, with its purpose`
    )
  }
})

interface Schema {
  readonly type?: string
  readonly pattern?: string
  readonly default?: unknown
  readonly examples?: readonly unknown[]
  readonly anyOf?: readonly Schema[]
  readonly items?: Schema
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
}

t.test('gateway.schema.json is up to date', async (t) => {
  const composed = composeSchema(catalog)
  t.strictSame(JSON.parse(read('gateway.schema.json')), composed, 'run "npm run schema" and commit the file')
  t.strictSame(
    JSON.parse(read('gateway.test.schema.json')),
    JSON.parse(JSON.stringify(composeTestSchema())),
    'run "npm run schema" and commit the file'
  )

  t.test('every option has a description of one sentence', async (t) => {
    const bare: string[] = []
    const walk = (schema: unknown, path: string, described: boolean): void => {
      if (typeof schema !== 'object' || schema === null) return
      const { description, properties, items, anyOf, additionalProperties, $defs } = schema as Record<
        string,
        unknown
      >
      if (!described && !/^[A-Z"].*\.$/.test(String(description ?? ''))) bare.push(path)
      for (const [key, inner] of Object.entries(properties ?? {})) walk(inner, `${path}.${key}`, false)
      for (const [key, inner] of Object.entries($defs ?? {})) walk(inner, key, false)
      walk(items, `${path}[]`, true)
      for (const branch of (anyOf ?? []) as unknown[]) walk(branch, path, true)
      walk(additionalProperties, `${path}.*`, true)
    }
    walk(composed, 'gateway', true)
    t.strictSame(bare, [], 'these need a description: one sentence, with a capital letter and a full stop')
  })

  t.test('every option whose form is not obvious has a default or an example', async (t) => {
    const bare: string[] = []
    const walk = (schema: Schema, path: string): void => {
      const { anyOf = [schema] } = schema
      const isObvious = anyOf.every(
        ({ type, pattern }) => type !== 'object' && type !== 'array' && pattern === undefined
      )
      const isShown = [schema, ...anyOf].some(
        ({ default: given, examples }) => examples !== undefined || Object.keys(Object(given)).length > 0
      )
      if (!isObvious && !isShown) bare.push(path)
      within(schema, path)
    }
    const within = ({ anyOf, items, properties, patternProperties }: Schema, path: string): void => {
      for (const [key, option] of Object.entries(properties ?? {})) walk(option, `${path}.${key}`)
      for (const inner of [...Object.values(patternProperties ?? {}), ...(anyOf ?? [])]) within(inner, path)
      if (items !== undefined) within(items, `${path}[]`)
    }
    for (const { key, options } of [...catalog.concerns, ...catalog.targets]) walk(options as Schema, key)
    for (const [key, option] of Object.entries({ ...coreOptions, ...routeOptions }))
      walk(option as Schema, key)
    t.strictSame(bare, [], 'these need "examples" beside their description')
  })
})

t.test('every error code is documented, and every documented code exists', async (t) => {
  const used = new Set<string>()
  const statuses = new Map<string, string>()
  // The list is compared below.
  for (const file of sources.filter((each) => each !== 'plugins/errors/codes.ts')) {
    const text = read(file)
    for (const [code] of text.matchAll(/SP_ERR_[A-Z_]*[A-Z]/g)) used.add(code)
    for (const [, code = '', status = ''] of text.matchAll(
      /createError(?:<[^>]*>)?\(\s*'(SP_ERR_\w+)',\s*(?:'(?:[^'\\]|\\.)*'|"[^"]*"|`[^`]*`),\s*(\d{3})\s*\)/g
    ))
      statuses.set(code, status)
  }
  const documented = new Map(
    [...read('docs/errors.md').matchAll(/^\| `(SP_ERR_\w+)` \| ([^|]*?) \| ([^|]*?) \|/gm)].map(
      ([, code = '', status = '', meaning = '']) => [code, { status, meaning }] as const
    )
  )
  t.ok(used.size > 20, 'finds the codes')
  t.ok(statuses.size > 20, 'finds the statuses')
  t.strictSame(
    CODES,
    [...used].toSorted(),
    'plugins/errors/codes.ts has each code of the source, sorted: add or remove those that differ'
  )
  for (const code of used)
    t.ok(documented.has(code), `${code} is in the source; add a row for it to docs/errors.md`)
  for (const [code, { meaning }] of documented) {
    t.ok(used.has(code), `${code} is in docs/errors.md but not in the source; remove its row`)
    t.match(meaning, /\S/, `the row of ${code} in docs/errors.md needs a cause`)
  }
  for (const [code, status] of statuses)
    t.match(documented.get(code)?.status, status, `${code} is a ${status}; docs/errors.md has another status`)
})

t.test('.env.example is complete', async (t) => {
  const text = read('.env.example')
  const [, ...blocks] = text.trimEnd().split('\n\n')
  t.strictSame(
    blocks,
    variables.map(({ name, fallback, about }) => `# ${about}\n${name}=${fallback}`),
    'list each variable of src/process/settings.ts in .env.example: a comment with its description, then NAME=fallback, in the same order'
  )
  t.strictSame(readSettings(parse(text)), readSettings({}), 'its values are the defaults')
})

t.test('only src/lib/clock.ts calls Date.now', async (t) => {
  for (const file of sources.filter((each) => each !== 'src/lib/clock.ts'))
    t.notMatch(
      read(file),
      /\bDate\.now\b/,
      `${file} calls Date.now; use monotonic() of src/lib/clock.ts to count or measure, and wall() for dates`
    )
})

t.test('no former name is used again', async (t) => {
  // Each with the term that took its place (CONTRIBUTING.md).
  const FORMER: Record<string, string> = {
    breathe: 'yieldIfDue',
    inSlices: 'forEachSliced',
    eachInSlices: 'forEachSliced',
    rememberName: 'setBounded',
    toldOf: 'identityHeader',
    toldBy: 'claimsToProfile',
    WayName: 'StrategyName',
    waysFor: 'strategiesFor',
    Errand: 'PreparedRequest',
    Lane: 'UpstreamRoute',
    makeLanes: 'makeUpstreamRoutes',
    Asker: 'AttemptListener',
    Joint: 'TunnelOptions',
    Joined: 'Tunnel',
    Stillness: 'IdleTimeout',
    Patience: 'HeadersTimeout',
    lineUp: 'enqueue',
    makeBack: 'makeResponseRewrite',
    Outflow: 'BodyWriter',
    Taker: 'ParserListener',
    Multiplexed: 'Http2Pool',
    Untaken: 'RequestNotProcessed',
    Unwanted: 'Superseded',
    Edge: 'TlsContext',
    InTurn: 'CoalescingQueue',
    layGround: 'decorateApp',
    makeEntrance: 'makeNormalizer',
    shownOf: 'redactedConfig',
    surveyOf: 'lint',
    Insight: 'AdminSource',
    Fleet: 'WorkerPool',
    Membership: 'WorkerLink',
    Noted: 'Increment',
    callBack: 'settleCallback',
    hangUp: 'abortRequest',
    leaveBodies: 'ignoreBodies',
    takeAnyType: 'acceptAnyContentTypes',
    waitForEnd: 'onResponseClosed',
    waitNoMore: 'offResponseClosed',
    scatter: 'hash32',
    spellOut: 'expandRanges',
    plainName: 'cgiName',
    isClaim: 'isForwardedHeader',
    wordOf: 'concernOfCode',
    tlsToward: 'tlsClientOptions',
    endWithHead: 'holdHeadersForTrailersOnly',
    wholeOf: 'readWhole',
    Journey: 'LoginState',
    WordsSaid: 'IsConfigured',
    ExtensionWords: 'ExtensionOptions',
    wordsIn: 'tokensOf',
    OF_THE_CONNECTION: 'CONNECTION_FIELDS',
    questionHead: 'authRequestHead',
    copyToLentMemory: 'copyToPooledMemory',
    asItIs: 'unescaped',
    keepsEmpty: 'allowsEmptySegments',
    UnderWay: 'BootStep',
    SLOWEST_PLUGIN: 'PLUGIN_TIMEOUT_MS',
    HOSTS_REMEMBERED: 'MAX_CACHED_HOSTS',
    repeatedIn: 'repeatedHeader',
    MOST_LEVELS: 'MAX_LEVELS',
    MOST_OUTPUT: 'MAX_OUTPUT',
    LONGEST_TIMER: 'MAX_TIMER_MS',
    RANGE_SAYS: 'EXPECTED_RANGE',
    MOST_NAMES: 'MAX_NAMES',
    LONGEST_NAME: 'MAX_NAME_LENGTH',
    Tally: 'LabeledCounter',
    storeAway: 'storeUnavailable',
    lingerAfterAnswer: 'lingerAfterResponse',
    lingerAfterHttp2Answer: 'lingerAfterHttp2Response',
    noteOtherProtocol: 'markOtherProtocol',
    isReadInSeveralWays: 'hasAmbiguousCharacter',
    isKept: 'isEnforced',
    slipsIn: 'maxTypos'
  }
  const former = new RegExp(`\\b(${Object.keys(FORMER).join('|')})\\b`)
  for (const file of sources) {
    const found = former.exec(read(file))?.[1]
    t.equal(
      found,
      undefined,
      `${file} has "${found}", which is called "${FORMER[found ?? '']}" now; see the list of words in CONTRIBUTING.md`
    )
  }
})
