import type { Concern } from 'sallyport/kit'

/** The options of "pluginName" in the config. */
export interface PluginNameOptions {
  /** Whether it is on for routes that do not mention it. */
  global?: boolean
  /** Whether a refusal stops the request, or is only counted and logged. */
  mode?: 'enforce' | 'report'
  /** The header that is looked at, in lower case. */
  header?: string
  /** The values of the header that are refused. */
  values?: readonly string[]
}

// What defineConfig() of TypeScript users knows of it.
declare module 'sallyport' {
  interface ExtensionOptions {
    pluginName?: PluginNameOptions | boolean
  }
}

export const key: 'pluginName'
export const options: Concern['options']
export const override: Exclude<Concern['override'], undefined>
export const describes: Exclude<Concern['describes'], undefined>
declare const plugin: Concern['default']
export default plugin
