import type { TestScope } from '../scope.ts'
import { checkGateOptions, checkRefusal, checkReportMode, checkSwitch, checkTrace } from './gate-checks.ts'
import { checkVersions } from './http-checks.ts'
import { checkAbsent, checkHookNames, checkLeaks, checkReload } from './lifecycle-checks.ts'
import {
  checkDefaults,
  checkDescriptions,
  checkKey,
  checkOverride,
  checkWrongOptions
} from './schema-checks.ts'
import type { ConformanceCheck, ConformanceModule, ConformanceSetup } from './setup.ts'
import { Subject } from './subject.ts'
import { checkUnusualOptions } from './unusual-options.ts'
import { checkPeers, checkProcesses } from './worker-checks.ts'

type Run = (subject: Subject, t: TestScope) => Promise<void>

// What every module keeps.
const CHECKS: readonly (readonly [name: string, run: Run])[] = [
  ['the key is in camelCase, and the name of the plugin', checkKey],
  ['the schema describes every option, and refuses unknown ones', checkDescriptions],
  ['the schema allows its own defaults and examples', checkDefaults],
  ['the override has no defaults', checkOverride],
  ['a wrong option is an error with its place', checkWrongOptions],
  ['unusual options end in a config error or a working gateway', checkUnusualOptions],
  ['hooks have names', checkHookNames],
  ['it works over HTTP/1.1 and HTTP/2', checkVersions],
  ['it works after reloads, and keeps its state', checkReload],
  ['reloads leave nothing behind', checkLeaks],
  ['it works beside other workers', checkPeers]
]

// What a module keeps that the gateway itself does not bring.
const PROCESS_CHECK = ['it works in two worker processes of the command line', checkProcesses] as const

// What a gate keeps.
const GATE_CHECKS: readonly (readonly [name: string, run: Run])[] = [
  ['a refusal has a code and the format of errors', checkRefusal],
  ['report mode lets requests through, and records them', checkReportMode],
  ['the trace has its verdict', checkTrace],
  ['false on a route switches it off there', checkSwitch]
]

/** Returns the checks that a concern or a target has to pass, by what it exports: those of gates for one with the options of `gate`. */
export function conformance(module: ConformanceModule, setup: ConformanceSetup): ConformanceCheck[] {
  const subject = new Subject(module, setup)
  const isAbsentByDefault = subject.isTarget || !('always' in module) || module.always === undefined
  const checks = [
    ...CHECKS,
    ...(isAbsentByDefault ? [['it is absent where no config mentions it', checkAbsent] as const] : []),
    ...(subject.isGate ? GATE_CHECKS : []),
    ...(isUndeclaredGate(subject)
      ? [['a concern that refuses has the options of a gate', checkGateOptions] as const]
      : []),
    ...(subject.isBuiltin ? [] : [PROCESS_CHECK])
  ]
  return checks.map(([name, run]) => ({ name, run: (t) => run(subject, t) }))
}

const isUndeclaredGate = ({ isTarget, isGate, isBuiltin, refused }: Subject): boolean =>
  refused.length > 0 && !isTarget && !isGate && !isBuiltin

/** A test that has subtests, such as `t` of node:test or tap. */
export interface SubtestScope {
  readonly test: (...args: never[]) => unknown
}

type Subtest = (name: string, run: (t: TestScope) => Promise<void>) => unknown

/** Runs checks as subtests, one after the other. */
export async function runChecks(t: SubtestScope, checks: readonly ConformanceCheck[]): Promise<void> {
  // Test runners have overloads, of which TypeScript compares only one.
  const test = t.test.bind(t) as unknown as Subtest
  for (const { name, run } of checks)
    await test(name, async (t: TestScope & { pass?: (message: string) => unknown }) => {
      await run(t)
      // A subtest of tap without an assertion counts as skipped.
      t.pass?.(name)
    })
}
