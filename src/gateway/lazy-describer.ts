import type { Plan } from '../config/plan-types.ts'
import type { Describer } from '../openapi/describer.ts'

/** Returns a function that describes a gateway by the host of a request; its modules are loaded at the first call. */
export function lazyDescriber(plan: Plan): Describer {
  let describer: Promise<Describer> | undefined
  return async function describe(host) {
    describer ??= import('../openapi/describer.ts').then(({ makeDescriber }) => makeDescriber(plan))
    return (await describer)(host)
  }
}
