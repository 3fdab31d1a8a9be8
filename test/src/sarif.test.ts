import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import t from 'tap'
import { sallyport } from '../helpers.ts'

// Several processes, one after the other.
t.setTimeout(600_000)

const text = {
  type: 'object',
  required: ['text'],
  properties: { text: { type: 'string', minLength: 1 } }
}
const level = { enum: ['error', 'warning', 'note'] }
const location = {
  type: 'object',
  required: ['physicalLocation'],
  properties: {
    physicalLocation: {
      type: 'object',
      required: ['artifactLocation', 'region'],
      properties: {
        artifactLocation: {
          type: 'object',
          required: ['uri'],
          // Relative to the root of the repository.
          properties: { uri: { type: 'string', pattern: '^(?!/|[a-z]+:)' } }
        },
        region: {
          type: 'object',
          required: ['startLine', 'startColumn'],
          properties: {
            startLine: { type: 'integer', minimum: 1 },
            startColumn: { type: 'integer', minimum: 1 }
          }
        }
      }
    }
  }
}

/** What GitHub reads of SARIF 2.1.0 ("SARIF support for code scanning"), with all that it requires. */
const SARIF = {
  type: 'object',
  required: ['$schema', 'version', 'runs'],
  properties: {
    version: { const: '2.1.0' },
    runs: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        required: ['tool', 'columnKind', 'results'],
        properties: {
          columnKind: { const: 'utf16CodeUnits' },
          tool: {
            type: 'object',
            required: ['driver'],
            properties: {
              driver: {
                type: 'object',
                required: ['name', 'rules'],
                properties: {
                  name: { type: 'string' },
                  rules: {
                    type: 'array',
                    items: {
                      type: 'object',
                      required: ['id', 'shortDescription', 'fullDescription', 'help', 'helpUri'],
                      properties: {
                        id: { type: 'string', pattern: '^SP_(WARN|ERR)_' },
                        shortDescription: text,
                        fullDescription: text,
                        help: {
                          type: 'object',
                          required: ['text', 'markdown'],
                          properties: { text: { minLength: 1 }, markdown: { minLength: 1 } }
                        },
                        helpUri: { type: 'string', pattern: '^[a-z]+:.*warnings\\.md' },
                        defaultConfiguration: { type: 'object', properties: { level } }
                      }
                    }
                  }
                }
              }
            }
          },
          results: {
            type: 'array',
            items: {
              type: 'object',
              required: ['ruleId', 'level', 'message', 'locations', 'partialFingerprints'],
              properties: {
                ruleId: { type: 'string' },
                level,
                message: text,
                locations: { type: 'array', minItems: 1, items: location },
                relatedLocations: { type: 'array', items: location },
                suppressions: {
                  type: 'array',
                  minItems: 1,
                  items: {
                    type: 'object',
                    required: ['kind', 'status', 'justification'],
                    properties: {
                      kind: { const: 'inSource' },
                      status: { const: 'accepted' },
                      justification: { type: 'string', minLength: 1 }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

interface Result {
  readonly ruleId: string
  readonly level: string
  readonly message: { readonly text: string }
  readonly locations: readonly unknown[]
  readonly relatedLocations: readonly unknown[]
  readonly suppressions?: readonly { readonly justification: string }[]
}

interface Run {
  readonly tool: {
    readonly driver: {
      readonly rules: readonly { readonly id: string; readonly help: { markdown: string } }[]
    }
  }
  readonly results: readonly Result[]
}

const isSarif = new Ajv({ strict: false, allErrors: true }).compile(SARIF)

const HASH = `sha256:${'0'.repeat(64)}`
const config = `{
  "auth": { "global": false, "apiKeys": { "list": [{ "id": "ada", "key": "${HASH}" }] } },
  "upstreams": {
    "shop": { "url": "https://127.0.0.1:9", "tls": { "verify": false } },
    "old": { "url": "http://127.0.0.1:9", "x-ok": { "SP_WARN_UPSTREAMS_UNUSED": "until May" } }
  },
  "routes": [
    { "path": "/closed", "auth": true, "proxy": { "upstream": "shop" } },
    { "path": "/a", "proxy": { "upstream": "shop" } },
    { "path": "/b", "proxy": { "upstream": "shop" } },
    { "path": "/-/live", "auth": false, "respond": {} }
  ]
}`

t.test('check --sarif', async (t) => {
  const folder = t.testdir({
    '.git': {},
    edge: { 'the gateway.json': config },
    'wrong.json': '{ "routs": [], "routes": [] }'
  })
  // It runs in a folder of the repository.
  const scan = async (file: string, ...args: string[]): Promise<{ code: number | null; run: Run }> => {
    const { code, stdout, stderr } = await sallyport(['check', '--sarif', '-c', join('..', file), ...args], {
      cwd: join(folder, 'edge')
    })
    t.equal(stderr, '')
    const log = JSON.parse(stdout) as { runs: [Run] }
    t.ok(isSarif(log), JSON.stringify(isSarif.errors))
    return { code, run: log.runs[0] }
  }
  const { code, run } = await scan('edge/the gateway.json')
  const { results, tool } = run

  t.test('has a result for each warning, with a level by its severity and all its places', async (t) => {
    t.equal(code, 0)
    t.strictSame(
      results.map(({ ruleId, level }) => `${ruleId} ${level}`),
      [
        'SP_WARN_UPSTREAMS_VERIFY error',
        'SP_WARN_PUBLIC_BESIDE_PROTECTED warning',
        'SP_WARN_ROUTE_REPLACES_BUILTIN note',
        'SP_WARN_UPSTREAMS_UNUSED note'
      ]
    )
    const place = (startLine: number, startColumn: number): object => ({
      physicalLocation: {
        artifactLocation: { uri: 'edge/the%20gateway.json' },
        region: { startLine, startColumn }
      }
    })
    t.match(results[0]?.locations, [place(4, 54)])
    t.match(results[1]?.locations, [place(9, 5)])
    t.match(results[1]?.relatedLocations, [place(10, 5)])
  })

  t.test('suppresses what the config accepts, with its reason, and nothing else', async (t) => {
    t.strictSame(
      results.map(({ suppressions }) => suppressions?.[0]?.justification),
      [undefined, undefined, undefined, 'until May']
    )
  })

  t.test('describes the rule of each result, with its section of the page of warnings', async (t) => {
    const page = readFileSync(fileURLToPath(new URL('../../docs/warnings.md', import.meta.url)), 'utf8')
    const { rules } = tool.driver
    t.strictSame(
      rules.map(({ id }) => id),
      results.map(({ ruleId }) => ruleId)
    )
    for (const { id, help } of rules) t.ok(page.includes(`## ${id}\n\n${help.markdown}`), id)
  })

  t.test('exits with 1 for warnings only with --strict', async (t) => {
    t.equal((await scan('edge/the gateway.json', '--strict')).code, 1)
  })

  t.test('has the errors of a config that is not valid', async (t) => {
    const wrong = await scan('wrong.json')
    t.equal(wrong.code, 1)
    t.match(wrong.run.results, [
      { ruleId: 'SP_ERR_CONFIG', level: 'error', message: { text: /^routs: Unknown option "routs"/ } }
    ])
  })

  t.test('is not printed together with JSON', async (t) => {
    t.match(await sallyport(['check', '--sarif', '--json'], { cwd: join(folder, 'edge') }), {
      code: 2,
      stdout: '',
      stderr: /expected --json or --sarif, got both/
    })
  })
})
