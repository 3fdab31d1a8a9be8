import { ConfigError } from '../../config/fault.ts'
import { validate } from '../../config/validate.ts'
import type { TestScope } from '../scope.ts'
import { expect, said } from './expect.ts'
import type { Subject } from './subject.ts'

// Texts, numbers and lists that break what expects a name, a pattern, a header or a size.
const UNUSUAL: readonly unknown[] = [
  '(',
  '',
  '\u0000\n',
  '%E0%A4%A {y} é $ \\',
  'a'.repeat(5000),
  0,
  1,
  Number.MAX_SAFE_INTEGER,
  -1,
  [],
  ['', '('],
  {},
  { '': '', __proto__: null }
]

// Each value costs the start of a gateway.
const MAX_VALUES = 3

/** Checks that options which the schema allows, however unusual, end in a config error or in a gateway that answers. */
export async function checkUnusualOptions(subject: Subject, t: TestScope): Promise<void> {
  const config = await subject.config(t)
  const { properties } = subject.module.options as { properties?: Readonly<Record<string, object>> }
  const uncaught: string[] = []
  let current = ''
  const note = (error: Error): void => void uncaught.push(`${error.message} with ${current}`)
  process.on('uncaughtExceptionMonitor', note)
  try {
    for (const [name, schema] of Object.entries(properties ?? {}))
      for (const value of unusualValues(schema)) {
        current = `"${name}": ${JSON.stringify(value).slice(0, 60)}`
        await tryConfig(subject, t, { config: subject.withOptions(config, { [name]: value }), current })
      }
  } finally {
    process.off('uncaughtExceptionMonitor', note)
  }
  expect(
    uncaught.length === 0,
    `expected no error outside of a request, got ${uncaught.join(', ')}; catch it, or return an error from "faults"`
  )
}

const unusualValues = (schema: object): unknown[] =>
  UNUSUAL.filter((value) => validate(schema, value, JSON.stringify).length === 0).slice(0, MAX_VALUES)

async function tryConfig(
  subject: Subject,
  t: TestScope,
  { config, current }: { config: object; current: string }
): Promise<void> {
  const gateway = await subject.start(t, config).catch((error: unknown) => {
    if (error instanceof ConfigError) return undefined
    throw new Error(
      `expected a config error or a gateway, got ${String(error)} with ${current}; return an error from "faults"`
    )
  })
  if (gateway === undefined) return
  const outcome = await gateway.send(subject.passed)
  expect(
    outcome.status !== 500,
    `expected an answer, got ${said(outcome)} with ${current}; refuse the value in the schema or in "faults"`
  )
  await gateway.close()
}
