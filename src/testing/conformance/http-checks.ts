import type { TestScope } from '../scope.ts'
import { expect, expectPassed, expectRefused, said } from './expect.ts'
import type { Subject } from './subject.ts'

/** Checks that a module treats requests over HTTP/1.1 and over HTTP/2 alike. */
export async function checkVersions(subject: Subject, t: TestScope): Promise<void> {
  const config = await subject.config(t)
  const statuses: string[] = []
  for (const version of ['fetch', 'http2'] as const) {
    // Each version has a gateway of its own, so that both begin with the same counts.
    const gateway = await subject.start(t, config, { https: true })
    const when = `over HTTP/${version === 'fetch' ? '1.1' : '2'}`
    const passed = await gateway.send(subject.passed, gateway[version])
    expectPassed(subject, passed, when)
    statuses.push(said(passed))
    if (subject.refused.length === 0) continue
    const refused = await subject.refuse(gateway, { client: gateway[version] })
    expectRefused(subject, refused, when)
    statuses.push(said(refused))
  }
  const [first, second] = [statuses.slice(0, statuses.length / 2), statuses.slice(statuses.length / 2)]
  expect(
    first.join() === second.join(),
    `expected the same over both versions of HTTP, got ${first.join(' and ')} over HTTP/1.1, ${second.join(' and ')} over HTTP/2`
  )
}
