import type { AboutPlan, PlanWarning } from '../../src/kit/concern.ts'
import { defineWarning } from '../../src/kit/index.ts'
import type { UpstreamsOptions } from './options.ts'

const unverified = defineWarning(
  'SP_WARN_UPSTREAMS_VERIFY',
  'high',
  'The certificate of an upstream is not verified'
)
const unused = defineWarning('SP_WARN_UPSTREAMS_UNUSED', 'low', 'An upstream that nothing uses')

/** Warns of upstreams whose certificate is not verified, and of those that nothing refers to. */
export const planWarnings = (upstreams: UpstreamsOptions, { mentions }: AboutPlan): PlanWarning[] =>
  Object.entries(upstreams).flatMap(([name, { tls }]) => [
    ...(tls?.verify === false
      ? [
          unverified(
            `The upstream "${name}" may be anybody who answers at its address, because "verify" is false; name its authority with "ca"`,
            [name, 'tls', 'verify']
          )
        ]
      : []),
    ...(mentions(name) ? [] : [unused(`Nothing uses the upstream "${name}"; remove it`, [name])])
  ])
