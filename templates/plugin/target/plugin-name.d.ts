import type { Target } from 'sallyport/kit'

/** The options of "pluginName" on a route. */
export interface PluginNameOptions {
  /** The text of the response. */
  message?: string
  /** The status of the response. */
  status?: number
}

// What defineConfig() of TypeScript users knows of it.
declare module 'sallyport' {
  interface ExtensionOptions {
    pluginName?: PluginNameOptions
  }
}

export const key: 'pluginName'
export const target: true
export const options: Target['options']
declare const plugin: Target['default']
export default plugin
