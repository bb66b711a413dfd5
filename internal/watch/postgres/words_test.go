package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEachFindingHasWordsInPortuguese makes each text as the code does, and finds what was put into it in the Portuguese one.
func TestEachFindingHasWordsInPortuguese(t *testing.T) {
	part := fmt.Sprintf(saidPart, `"public"."pay_2"`, "pay")
	for text, says := range map[string][]string{
		fmt.Sprintf(saidOperations, "arauto", `"arauto"`):                  {"a publicação arauto não publica inserts", `ALTER PUBLICATION "arauto" SET`},
		fmt.Sprintf(saidDeletes, "arauto", "itp", `"arauto"`):              {"linha apagada de itp apaga um registro", `ALTER PUBLICATION "arauto" SET`},
		fmt.Sprintf(saidForeign, fmt.Sprintf(saidTable, "pay")):            {"a tabela pay é uma tabela externa"},
		fmt.Sprintf(saidForeign, part):                                     {`a partição ou filha "public"."pay_2" da tabela pay é uma tabela externa`},
		fmt.Sprintf(saidUnlogged, part, `"public"."pay_2"`):                {"é UNLOGGED", `ALTER TABLE "public"."pay_2" SET LOGGED`},
		fmt.Sprintf(saidUnpublished, part, "arauto", `"arauto"`, `"p"`):    {"não está na publicação arauto", `ADD TABLE "p"`},
		fmt.Sprintf(saidFiltered, "arauto", `"pay"`, `"arauto"`):           {`tem um filtro de linhas em "pay"`},
		fmt.Sprintf(saidAbove, part, `"old"`):                              {`é informada como linhas de "old"`},
		fmt.Sprintf(saidGone, "pay", 16384):                                {"a tabela pay (id de objeto 16384) não existe mais"},
		fmt.Sprintf(saidRemade, "pay", 16384, 16390):                       {"era 16384 e é 16390"},
		fmt.Sprintf(saidTakenOut, `"pay_2"`, "arauto"):                     {`"pay_2" foi retirada da publicação arauto: linhas`},
		fmt.Sprintf(saidPutBack, `"pay_2"`, "arauto"):                      {"posta de volta"},
		fmt.Sprintf(saidStranger, "public.pay_2", 16390, "pay"):            {"vieram linhas de public.pay_2 (id de objeto 16390)", "partição da tabela pay"},
		fmt.Sprintf(saidTruncated, "pay"):                                  {"a tabela pay foi truncada"},
		fmt.Sprintf(saidUnreadable, `"pay_2"`, "pay", "ERROR: (a\nb) (c)"): {"parte da tabela pay (ERROR: (a\nb) (c))"},
		fmt.Sprintf(saidRewritten, `"pay_2"`, "pay"):                       {`"pay_2", nova na tabela pay, foi reescrita`},
		fmt.Sprintf(saidAttached, `"pay_2"`, "pay"):                        {`"pay_2" tem linhas gravadas antes de ser anexada à tabela pay`},
	} {
		pt := portugueseOf(text)
		for _, word := range says {
			require.Contains(t, pt, word, text)
		}
		require.NotContains(t, pt, "%!", text)
		require.False(t, strings.Contains(pt, " table ") || strings.Contains(pt, "rows"), pt)
		require.Equal(t, pt, findingsOf([]finding{{text: text, table: "pay", id: "1"}})[0].TextPT)
	}
	require.Empty(t, portugueseOf("a text of a newer version"))
}
