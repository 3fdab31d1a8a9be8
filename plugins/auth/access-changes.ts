import type { OptionChange } from '../../src/kit/concern.ts'

/** The path of an option. */
export type Path = OptionChange['path']

/** Returns a change that lets requests in that were refused. */
export const widened = (path: Path, message: string): OptionChange => ({
  class: 'widened-access',
  path,
  message
})

/** Returns a change that lets requests in for what others say of them. */
export const trustsOthers = (path: Path, what: string): OptionChange =>
  widened(path, `trusts others: ${what}`)

/** Returns a change that refuses requests that were let in. */
export const narrowed = (path: Path, message: string): OptionChange => ({
  class: 'narrowed-access',
  path,
  message
})
