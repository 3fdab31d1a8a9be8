import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** The optional package whose static files are the interactive page; its Fastify plugin is not used. */
const PACKAGE = '@fastify/swagger-ui'

/** The files of the package that are served. */
export const UI_FILES: ReadonlySet<string> = new Set([
  'swagger-ui.css',
  'swagger-ui-bundle.js',
  'oauth2-redirect.html',
  'oauth2-redirect.js',
  'favicon-16x16.png',
  'favicon-32x32.png'
])

/** Returns the folder of the files of Swagger UI; undefined if it is not installed where a module finds its packages. */
export function findUi(from: string = import.meta.url): string | undefined {
  try {
    const folder = join(dirname(createRequire(from).resolve(PACKAGE)), 'static')
    return existsSync(join(folder, 'swagger-ui-bundle.js')) ? folder : undefined
  } catch {
    return undefined
  }
}

/** What `check` says where the package is not installed. */
export const INSTALL_NOTE = `shows a page without scripts, since ${PACKAGE} is not installed: "npm install ${PACKAGE}" beside the gateway adds Swagger UI; "ui": false keeps the page`

/** The script that starts Swagger UI: a file, since the policy of the page allows no inline script. */
export const UI_SCRIPT = `'use strict'
const dark = matchMedia('(prefers-color-scheme: dark)')
const setScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', setScheme)
setScheme()
SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
  oauth2RedirectUrl: new URL('oauth2-redirect.html', location.href).href
})
`

/** The page of Swagger UI; what it shows comes from the document. */
export const UI_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API documentation</title>
<link rel="icon" href="favicon-32x32.png">
<link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
<noscript><p>This page needs scripts; the document is <a href="openapi.json">openapi.json</a>.</p></noscript>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="init.js"></script>
</body>
</html>
`

/** The policy of that page: its own files, and requests to its own origin. */
export const UI_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
