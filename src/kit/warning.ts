import type { OptionFault } from '../lib/schema.ts'

/** How much harm it may do: `high` lets others in or tells secrets, `medium` weakens a protection, `low` has no effect or costs little. */
export type Severity = 'high' | 'medium' | 'low'

/** What all warnings of one code have in common; docs/warnings.md has a heading for each code. */
export interface WarningRule {
  /** `SP_WARN_<KEY>_…`; the config accepts a warning by it. */
  readonly code: string
  readonly severity: Severity
  /** What is wrong, in a few words that hold for every warning of the code. */
  readonly title: string
}

/** A warning of `check`. */
export interface Warning extends WarningRule {
  readonly message: string
  /** The path of the option that it is about; undefined for all options. */
  readonly path?: OptionFault['path']
}

/** Makes the warnings of one code. */
export type MakeWarning = ((message: string, path?: OptionFault['path']) => Warning) & {
  readonly rule: WarningRule
}

/** Defines a warning of `check`, and returns the function that makes it. */
export function defineWarning(code: `SP_WARN_${string}`, severity: Severity, title: string): MakeWarning {
  const rule: WarningRule = { code, severity, title }
  const make = (message: string, path?: OptionFault['path']): Warning => ({
    ...rule,
    message,
    ...(path === undefined ? {} : { path })
  })
  return Object.assign(make, { rule })
}
