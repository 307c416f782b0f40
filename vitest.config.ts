import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{libs,services,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    globalSetup: ['libs/testing/src/servers.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
