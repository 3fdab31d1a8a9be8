import type { TestScope } from '../scope.ts'
import { watchHandles } from './active-handles.ts'
import { eventually, expect, expectPassed, expectRefused } from './expect.ts'
import { without } from './options-place.ts'
import type { Subject } from './subject.ts'

/** Checks that a module is not registered where no config mentions it. */
export async function checkAbsent(subject: Subject, t: TestScope): Promise<void> {
  const { key } = subject
  const config = without(await subject.config(t), key, subject.isTarget) as object
  const gateway = await subject.start(t, config)
  const isThere =
    gateway.app.hasPlugin(key) || gateway.app.routeInfos.some(({ gates }) => gates.includes(key))
  expect(
    !isThere,
    `expected "${key}" to be absent where no config mentions it, got it registered; export "always" if it is on by default`
  )
}

/** Checks that all hooks have names, which stand in stack traces. */
export async function checkHookNames(subject: Subject, t: TestScope): Promise<void> {
  const { probe } = await subject.start(t, await subject.config(t))
  expect(
    probe.anonymousHooks.length === 0,
    `expected hooks with names, got functions without one for ${[...new Set(probe.anonymousHooks)].join(', ')}; write async function checkTenant() {…}`
  )
}

/** Returns a config with one route more. */
function edited(config: object): object {
  const routes = 'routes' in config && Array.isArray(config.routes) ? (config.routes as unknown[]) : []
  const added = { path: '/-conformance/added', respond: { body: 'added' } }
  return { ...config, routes: [...routes, added] }
}

/** Checks that a module works after reloads of the same config and of an edited one, and keeps its state. */
export async function checkReload(subject: Subject, t: TestScope): Promise<void> {
  const config = await subject.config(t)
  const gateway = await subject.start(t, config)
  expectPassed(subject, await gateway.send(subject.passed), 'before a reload')
  const reload = async (): Promise<void> => {
    await gateway.reload(config)
    await gateway.reload(edited(config))
  }
  // What the gate counts of the requests before the last one has to survive.
  if (subject.refused.length === 0) await reload()
  else
    expectRefused(
      subject,
      await subject.refuse(gateway, { beforeLast: reload }),
      'after a reload; lease what must survive one from app.resources'
    )
  expectPassed(subject, await gateway.send(subject.passed), 'after a reload')
}

const RELOADS = 4

/** Checks that reloads leave nothing behind: no resource, no open handle, no interval. */
export async function checkLeaks(subject: Subject, t: TestScope): Promise<void> {
  const config = await subject.config(t)
  const gateway = await subject.start(t, config)
  const { probe } = gateway
  const handles = watchHandles(t)
  await gateway.send(subject.passed)
  if (subject.refused.length > 0) await subject.refuse(gateway)
  // What is made at the first reload stays, such as a compiled cache.
  await gateway.reload(edited(config))
  await gateway.reload(config)
  const closing = (): boolean => probe.openInstances === 1
  await eventually(closing)
  const before = { resources: gateway.resources.size, handles: handles.count() }
  for (let i = 0; i < RELOADS; i++) await gateway.reload(i % 2 === 0 ? edited(config) : config)
  expect(
    await eventually(closing),
    'expected an instance to close after a reload, got one that stays open; end what its onClose hooks wait for'
  )
  expect(
    await eventually(() => gateway.resources.size <= before.resources),
    `expected ${before.resources} leased resources after ${RELOADS} reloads, got ${gateway.resources.size}; use the same key for the same value in app.resources.lease`
  )
  await eventually(() => handles.grownSince(before.handles).length === 0)
  const grown = handles.grownSince(before.handles)
  expect(
    grown.length === 0,
    `expected as many open handles after ${RELOADS} reloads as before, got more of ${grown.join(', ')}; close them in an onClose hook, or in the last parameter of app.resources.lease`
  )
  await gateway.close()
  expect(
    await eventually(() => gateway.resources.size === 0),
    `expected no leased resource after the gateway has closed, got ${gateway.resources.size}; end them in the last parameter of app.resources.lease`
  )
}
