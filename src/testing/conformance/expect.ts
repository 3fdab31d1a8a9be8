import type { Outcome, Subject } from './subject.ts'

/** Throws with a message unless something holds. */
export function expect(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(message)
}

/** Throws unless the last of the refused requests was refused by the module. */
export function expectRefused({ key }: Subject, outcome: Outcome, when: string): void {
  const { status, code, refusedBy, thrown } = outcome
  const isSentByHook = status >= 400 && code === undefined && thrown === undefined
  expect(
    refusedBy === key,
    `expected "${key}" to refuse the request of "refused" ${when}, got ${said(outcome)}; ` +
      `throw an error with a code such as ${exampleCode(key)}${isSentByHook ? ", and don't send a response: report mode can't let it pass" : ''}`
  )
}

/** Returns a code that an error of a concern may have. */
export const exampleCode = (key: string): string =>
  `SP_ERR_${key.replaceAll(/[A-Z]/g, '_$&').toUpperCase()}_REFUSED`

/** Throws unless a request was let through and answered. */
export function expectPassed({ key }: Subject, outcome: Outcome, when: string): void {
  const { status, refusedBy, thrown } = outcome
  expect(
    refusedBy !== key && status < 500,
    `expected an answer to the request of "passed" ${when}, got ${said(outcome)}; ` +
      (thrown === undefined
        ? 'name a request in "passed" that the gateway answers'
        : 'mend it, or throw an error of createError to refuse the request')
  )
}

/** Describes a response. */
export const said = ({ status, code, thrown }: Pick<Outcome, 'status' | 'code' | 'thrown'>): string =>
  `status ${status}${code === undefined ? '' : ` with ${code}`}${thrown === undefined ? '' : `, since something threw ${thrown}`}`

/** Waits until something holds, for at most ten seconds; returns whether it did. */
export async function eventually(holds: () => boolean): Promise<boolean> {
  const end = performance.now() + 10_000
  while (!holds()) {
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return true
}
