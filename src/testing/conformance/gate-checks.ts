import { isObject } from '../../lib/schema.ts'
import type { TestScope } from '../scope.ts'
import { exampleCode, expect, expectPassed, expectRefused, said } from './expect.ts'
import { withValueAt } from './options-place.ts'
import type { Subject } from './subject.ts'

const REFUSAL_FIELDS = ['type', 'title', 'status', 'detail', 'code', 'requestId'] as const

/** Checks that a concern that refuses requests has the options of a gate. */
export async function checkGateOptions({ key }: Subject): Promise<void> {
  expect(
    false,
    `expected the options of a gate in "${key}", which refuses requests, got none of "global" and "mode"; write ...gate (of sallyport/kit) into its options, so that it has report mode and no other spelling of a path bypasses it`
  )
}

/** Checks that a refusal has a code and the format of the gateway's errors. */
export async function checkRefusal(subject: Subject, t: TestScope): Promise<void> {
  const gateway = await subject.start(t, await subject.config(t))
  expectPassed(subject, await gateway.send(subject.passed), 'at first')
  const refused = await subject.refuse(gateway)
  expectRefused(subject, refused, 'at first')
  expect(
    refused.status >= 300 && refused.status < 600,
    `expected a status that says no, got ${refused.status}; it is the third parameter of createError`
  )
  expect(
    /^SP_ERR_[A-Z0-9]+(_[A-Z0-9]+)*$/.test(refused.code ?? ''),
    `expected a code such as ${exampleCode(subject.key)}, got ${refused.code}`
  )
  expect(
    refused.type.startsWith('application/problem+json'),
    `expected a refusal as application/problem+json, got "${refused.type}"; throw the error, and don't send a response`
  )
  const body: unknown = JSON.parse(refused.text)
  const missing = REFUSAL_FIELDS.filter((name) => !isObject(body) || body[name] === undefined)
  expect(
    missing.length === 0,
    `expected a refusal with ${REFUSAL_FIELDS.join(', ')}, got one without ${missing.join(', ')}; throw an error of createError`
  )
  expect(
    !/\n\s+at |node_modules|file:\/\//.test(refused.text),
    'expected a refusal without a stack, got one; put no stack and no file name into the message'
  )
}

/** Checks that report mode lets the refused request through, and records it. */
export async function checkReportMode(subject: Subject, t: TestScope): Promise<void> {
  const config = subject.withOptions(await subject.config(t), { mode: 'report' })
  const gateway = await subject.start(t, config)
  const { reported, ...outcome } = await subject.refuse(gateway)
  expect(
    outcome.refusedBy !== subject.key,
    `expected report mode to let the request through, got ${said(outcome)}; add hooks by perRoute, and throw the error in onRequest, preValidation or preHandler`
  )
  expect(
    reported.some(({ gate }) => gate === subject.key),
    'expected report mode to record the refusal, got none; add hooks by perRoute, and throw the error'
  )
}

/** Checks that the trace of a request has the verdict of the gate. */
export async function checkTrace(subject: Subject, t: TestScope): Promise<void> {
  const gateway = await subject.start(t, await subject.config(t), { trace: true })
  const refused = await subject.refuse(gateway)
  const verdict = refused.trace.find(({ gate, verdict }) => gate === subject.key && verdict === 'refused')
  expect(
    verdict !== undefined,
    `expected the trace to say that "${subject.key}" refused the request, got ${
      refused.trace.map(({ gate, verdict }) => `${gate} ${verdict}`).join(', ') || 'no verdict'
    }; add hooks by perRoute`
  )
  expect(
    verdict.code !== undefined && verdict.reason !== undefined && verdict.reason !== '',
    'expected a verdict with a code and a reason, got one without; throw an error of createError'
  )
}

/** Checks that a route can switch the gate off while it is on for another one. */
export async function checkSwitch(subject: Subject, t: TestScope): Promise<void> {
  const { key } = subject
  const config = await subject.config(t)
  const { path, value } = subject.optionsIn(config)
  const routes = 'routes' in config && Array.isArray(config.routes) ? (config.routes as object[]) : []
  const isAtRoot = path.length === 1
  const off = isAtRoot ? config : (withValueAt(config, path, false) as object)
  const gateway = await subject.start(t, {
    ...off,
    routes: [
      ...(isAtRoot
        ? routes.map((route) => ({ ...route, [key]: false }))
        : (off as { routes: object[] }).routes),
      { path: '/-conformance/on', respond: { body: 'on' }, [key]: value }
    ]
  })
  const outcome = await subject.refuse(gateway)
  expect(
    outcome.refusedBy !== key,
    `expected "${key}": false on a route to switch the gate off there, got ${said(outcome)}; add hooks by perRoute, which looks at the options of each route`
  )
}
